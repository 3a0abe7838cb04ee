import { describe, expect, it } from 'vitest';
import { MeshMap } from '../../../src/registry/mesh-map.js';
import { seeded } from '../../helpers/random.js';
import { keyOf } from '../plane/context.js';

const ALICE = keyOf(1);
const NONE = { multiCreated: 0, multiDeleted: 0, deleteOther: 0 };

describe('a key with one link', () => {
  it('a link leads to a key until it is removed', () => {
    const map = new MeshMap<number>();
    expect(map.preferred(ALICE)).toBeUndefined();
    expect(map.has(ALICE)).toBe(false);
    map.add(ALICE, 1);
    map.add(ALICE, 1);
    expect(map.preferred(ALICE)).toBe(1);
    expect(map.has(ALICE)).toBe(true);
    expect(map.size).toBe(1);
    map.remove(ALICE, 1);
    expect(map.preferred(ALICE)).toBeUndefined();
    expect(map.size).toBe(0);
    expect(map.counts).toEqual(NONE);
  });

  it('the removal of another link changes nothing, and is counted', () => {
    const map = new MeshMap<number>();
    map.add(ALICE, 1);
    map.remove(ALICE, 2);
    expect(map.preferred(ALICE)).toBe(1);
    expect(map.counts).toEqual({ ...NONE, deleteOther: 1 });
  });

  it('the removal of an unknown key changes nothing, and is not counted', () => {
    const map = new MeshMap<number>();
    map.remove(ALICE, 1);
    expect(map.counts).toEqual(NONE);
  });
});

describe('a key with several links', () => {
  it('the first link stays preferred when others come and go', () => {
    const map = new MeshMap<number>();
    for (const link of [1, 2, 3, 2, 1, 3]) {
      map.add(ALICE, link);
      expect(map.preferred(ALICE)).toBe(1);
    }
    map.remove(ALICE, 2);
    expect(map.preferred(ALICE)).toBe(1);
    expect(map.counts).toEqual({ ...NONE, multiCreated: 1 });
  });

  it('the oldest link is preferred when the preferred one goes', () => {
    const map = new MeshMap<number>();
    for (const link of [5, 9, 2, 7]) map.add(ALICE, link);
    map.remove(ALICE, 5);
    expect(map.preferred(ALICE)).toBe(9);
    // A link that comes back is the youngest.
    map.add(ALICE, 5);
    map.remove(ALICE, 9);
    expect(map.preferred(ALICE)).toBe(2);
    map.remove(ALICE, 2);
    expect(map.preferred(ALICE)).toBe(7);
    map.remove(ALICE, 7);
    expect(map.preferred(ALICE)).toBe(5);
    expect(map.counts).toEqual({ ...NONE, multiCreated: 1, multiDeleted: 1 });
  });

  it('the last of several links counts as a single link', () => {
    const map = new MeshMap<number>();
    map.add(ALICE, 1);
    map.add(ALICE, 2);
    map.remove(ALICE, 1);
    expect(map.counts).toEqual({ ...NONE, multiCreated: 1, multiDeleted: 1 });
    map.remove(ALICE, 1);
    expect(map.counts.deleteOther).toBe(1);
    map.add(ALICE, 3);
    expect(map.preferred(ALICE)).toBe(2);
    expect(map.counts.multiCreated).toBe(2);
    map.remove(ALICE, 3);
    map.remove(ALICE, 2);
    expect(map.has(ALICE)).toBe(false);
  });

  it('the removal of an unknown link of a key with several is not counted', () => {
    const map = new MeshMap<number>();
    map.add(ALICE, 1);
    map.add(ALICE, 2);
    map.remove(ALICE, 3);
    expect(map.counts).toEqual({ ...NONE, multiCreated: 1 });
  });
});

describe('random changes of links', () => {
  it.each([1, 2, 3])('the links of a key stay a list in the order of their arrival, seed %i', (seed) => {
    const random = seeded(seed);
    const map = new MeshMap<number>();
    const model = new Map<number, number[]>();
    for (let step = 0; step < 4000; step++) {
      const key = Math.floor(random() * 5);
      const link = 1 + Math.floor(random() * 4);
      const links = model.get(key) ?? [];
      if (random() < 0.5) {
        map.add(keyOf(key), link);
        if (!links.includes(link)) model.set(key, [...links, link]);
      } else {
        map.remove(keyOf(key), link);
        model.set(
          key,
          links.filter((known) => known !== link),
        );
      }
      for (let index = 0; index < 5; index++) expect(map.preferred(keyOf(index))).toBe(model.get(index)?.[0]);
      expect(map.size).toBe([...model.values()].filter(({ length }) => length > 0).length);
    }
    expect([...map.keys()]).toHaveLength(map.size);
    const { multiCreated, multiDeleted } = map.counts;
    const multi = [...model.values()].filter(({ length }) => length > 1).length;
    expect(multiCreated - multiDeleted).toBe(multi);
  });
});
