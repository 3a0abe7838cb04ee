import { describe, expect, it } from 'vitest';
import { render, unfounded, unsettled } from './parity/table.ts';
import { TABLES } from './parity/tables.ts';
import { read } from './project.js';

const rows = TABLES.flatMap((table) => table.rows);

describe('the parity page', () => {
  it('docs/derper-parity.md is what the tables make of it', async () => {
    await expect(render(read('__test__/repo/parity/swap.md'), TABLES)).toMatchFileSnapshot(
      '../../docs/derper-parity.md',
    );
  });

  it('every row names a test that exists', () => {
    expect(unfounded(rows, read)).toEqual([]);
  });

  it('every row names a test, or the reason why derpkit will not have the feature', () => {
    expect(unsettled(rows)).toEqual([]);
  });

  it('every table has each name once', () => {
    for (const table of TABLES) {
      expect(new Set(table.rows.map(({ name }) => name)).size, table.title).toBe(table.rows.length);
    }
  });
});

describe('these tests can fail', () => {
  it.each(['repo/parity.spec.ts', 'repo/parity.spec.ts#', 'repo/layout.spec.ts#no title of any test'])(
    'a test that does not exist is found: %s',
    (test) => {
      expect(unfounded([{ name: 'x', test }], read)).toHaveLength(1);
    },
  );

  it.each([
    { name: 'x' },
    { name: 'x', test: 'a#b', never: true as const },
    { name: 'x', test: 'a#b', willNotBe: 'for a reason' },
  ])('an unsettled row is found: %j', (row) => {
    expect(unsettled([row])).toHaveLength(1);
  });

  it('a test that exists passes', () => {
    expect(
      unfounded([{ name: 'x', test: 'repo/parity.spec.ts#every table has each name once' }, { name: 'y' }], read),
    ).toEqual([]);
  });
});
