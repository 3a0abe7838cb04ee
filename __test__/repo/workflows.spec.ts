/** Workflows run the actions of others with our permissions, so that each action is pinned by its commit. */
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { actionlint } from '../../packaging/actionlint.mjs';
import { ROOT, read } from './project.js';

const WORKFLOWS = '.github/workflows';

it('actionlint finds no mistake in the workflows', { timeout: 300_000 }, async (context) => {
  const program = await actionlint().catch((error: Error) => {
    if (process.env.CI) throw error;
    console.log(`left out: actionlint: ${error.message}`);
    return context.skip(error.message);
  });
  // Otherwise the result would depend on whether these two are installed.
  const { status, stdout, stderr } = spawnSync(program, ['-shellcheck=', '-pyflakes='], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  expect(`${stdout}${stderr}`).toBe('');
  expect(status).toBe(0);
});

it('some workflow uses an action', () => {
  expect(
    readdirSync(join(ROOT, WORKFLOWS))
      .map((name) => read(`${WORKFLOWS}/${name}`))
      .join(),
  ).toMatch(/uses: actions/);
});

describe.each(readdirSync(join(ROOT, WORKFLOWS)))('%s', (name) => {
  const uses = read(`${WORKFLOWS}/${name}`).match(/^.*\buses: (?!\.\/).*$/gm) ?? [];

  it.each([...new Set(uses.map((line) => line.trim()))])(
    'a workflow pins %s by its commit, and says the version',
    (line) => {
      expect(line).toMatch(/uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
    },
  );

  it('a workflow gives each run only the permissions that it needs', () => {
    const text = read(`${WORKFLOWS}/${name}`);
    expect(text).toMatch(/^permissions:(?: \{\}|\n {2}contents: read)$/m);
    // Publishing alone may say which workflow it is; the release and the image alone may write, each to its own place.
    const more = text.match(/^ +[\w-]+: write$/gm) ?? [];
    expect(more.map((line) => line.trim())).toEqual(
      name === 'release.yml' ? ['id-token: write', 'contents: write', 'packages: write'] : [],
    );
  });
});
