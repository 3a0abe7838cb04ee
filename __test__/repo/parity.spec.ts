import { describe, expect, it } from 'vitest';
import { render, unfounded, unsettled } from './parity/table.ts';
import { TABLES } from './parity/tables.ts';
import { read } from './project.js';

const rows = TABLES.flatMap((table) => table.rows);

describe('docs/derper-parity.md', () => {
  it('is what the tables make of it', async () => {
    await expect(render(TABLES)).toMatchFileSnapshot('../../docs/derper-parity.md');
  });

  it('names tests that there are', () => {
    expect(unfounded(rows, read)).toEqual([]);
  });

  it('names a test of each feature, or says why derpkit will not have it', () => {
    expect(unsettled(rows)).toEqual([]);
  });

  it('says everything once', () => {
    for (const table of TABLES) {
      expect(new Set(table.rows.map(({ name }) => name)).size, table.title).toBe(table.rows.length);
    }
  });
});

describe('these tests can fail', () => {
  it.each(['repo/parity.spec.ts', 'repo/parity.spec.ts#', 'repo/layout.spec.ts#no title of any test'])('%s', (test) => {
    expect(unfounded([{ name: 'x', test }], read)).toHaveLength(1);
  });

  it.each([
    { name: 'x' },
    { name: 'x', test: 'a#b', never: true as const },
    { name: 'x', test: 'a#b', willNotBe: 'for a reason' },
  ])('%j', (row) => {
    expect(unsettled([row])).toHaveLength(1);
  });

  it('and pass', () => {
    expect(unfounded([{ name: 'x', test: 'repo/parity.spec.ts#says everything once' }, { name: 'y' }], read)).toEqual(
      [],
    );
  });
});
