/** What runs elsewhere with our permissions: actions of others, named by what they are and not by what somebody can move. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ROOT, read } from './project.js';

const WORKFLOWS = '.github/workflows';

describe.each(readdirSync(join(ROOT, WORKFLOWS)))('%s', (name) => {
  const uses = read(`${WORKFLOWS}/${name}`).match(/^.*\buses:.*$/gm) ?? [];

  it('uses actions', () => {
    expect(uses.length).toBeGreaterThan(0);
  });

  it.each([...new Set(uses.map((line) => line.trim()))])('pins %s by its commit, and says its version', (line) => {
    expect(line).toMatch(/uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
  });
});
