import { describe, expect, it } from 'vitest';
import type { Client } from '../../../src/registry/client.js';
import { Watchers } from '../../../src/registry/watchers.js';
import { keyOf } from '../plane/context.js';

function* clients(count: number): Iterator<Client> {
  for (let id = 1; id <= count; id++) {
    const said = { appName: '', version: 2, tlsVersion: null, flags: 1 };
    yield { id, key: keyOf(id), address: '192.0.2.1', port: 40000, ...said, since: 0, home: false };
  }
}

describe('counts of reports to watchers', () => {
  it('reports to watchers are counted in derper’s buckets', () => {
    const { batches, loops } = new Watchers();
    expect(batches.bounds).toEqual([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
    expect(loops.bounds).toEqual([0, 1, 2, 5, 10, 20, 50, 100]);
  });

  it('a change counts as one part with one peer for each watcher', () => {
    const watchers = new Watchers();
    watchers.add(1, clients(0));
    watchers.add(2, clients(0));
    watchers.toldOfChange();
    expect(watchers.batches.sum).toBe(2);
    expect(watchers.loops.sum).toBe(2);
  });

  it('a dump ends with its last full part, and no empty part is counted', () => {
    const watchers = new Watchers();
    watchers.add(1, clients(1000));
    expect(watchers.nextPart(1)).toBeDefined();
    expect(watchers.nextPart(1)).toBeDefined();
    expect(watchers.nextPart(1)).toBeUndefined();
    expect(watchers.batches.counts.reduce((sum, count) => sum + count)).toBe(2);
    expect(watchers.loops.sum).toBe(2);
  });
});
