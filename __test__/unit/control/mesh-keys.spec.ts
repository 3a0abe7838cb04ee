import { describe, expect, it } from 'vitest';
import { type AnnouncedKeys, MeshKeys } from '../../../src/control/mesh-keys.js';
import { keyOf } from '../plane/context.js';

/** A mesh with a limit, and what the owners of its links are told. */
function meshOf(limit: number) {
  const mesh = new MeshKeys(limit);
  const told: string[] = [];
  const numbers = new Map([...Array(100).keys()].map((number) => [keyOf(number), number]));
  const link = (name: string) =>
    mesh.link({
      onCrowded: () => void told.push(`${name} crowded`),
      onForgotten: (key) => void told.push(`${name} forgets ${numbers.get(key)}`),
      onRoom: () => void told.push(`${name} has room`),
    });
  const announce = (keys: AnnouncedKeys, from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, index) => mesh.add(keys, keyOf(from + index)));
  const known = (keys: AnnouncedKeys) => [...keys].map((key) => numbers.get(key));
  return { mesh, told, link, announce, known };
}

describe('the keys of a mesh', () => {
  it('the keys of the largest link are ignored above the limit', () => {
    const { told, link, announce, known } = meshOf(5);
    const [a, b] = [link('a'), link('b')];
    announce(b, 1, 1);
    expect(announce(a, 10, 15)).toEqual([true, true, true, true, false, false]);
    expect(known(a)).toEqual([10, 11, 12, 13]);
    expect(a.passedOver).toBe(2);
    // Once for as long as there is no room.
    expect(told).toEqual(['a crowded']);
    // What is known stays known.
    expect(announce(a, 10, 13)).toEqual([true, true, true, true]);
    expect(known(b)).toEqual([1]);
  });

  it('the keys of a smaller link replace the oldest keys of the largest one', () => {
    const { told, link, announce, known } = meshOf(6);
    const [a, b] = [link('a'), link('b')];
    announce(a, 10, 15);
    expect(announce(b, 1, 4)).toEqual([true, true, true, false]);
    expect(known(a)).toEqual([13, 14, 15]);
    expect(known(b)).toEqual([1, 2, 3]);
    expect(told).toEqual(['a crowded', 'a forgets 10', 'a forgets 11', 'a forgets 12', 'b crowded']);
    expect([a.passedOver, b.passedOver]).toEqual([3, 1]);
  });

  it('a link with as many keys as another one replaces none of the other', () => {
    const { told, link, announce, known } = meshOf(6);
    const [a, b] = [link('a'), link('b')];
    announce(b, 1, 3);
    expect(announce(a, 10, 13)).toEqual([true, true, true, false]);
    expect(known(b)).toEqual([1, 2, 3]);
    expect(told).toEqual(['a crowded']);
  });

  it('ignored keys are requested again once there is room', () => {
    const { mesh, told, link, announce } = meshOf(8);
    const [a, b] = [link('a'), link('b')];
    announce(b, 1, 3);
    announce(a, 10, 20);
    expect(told.splice(0)).toEqual(['a crowded']);
    expect(mesh.delete(b, keyOf(1))).toBe(true);
    expect(mesh.delete(b, keyOf(1))).toBe(false);
    expect(told).toEqual([]);
    mesh.delete(b, keyOf(2));
    expect(told.splice(0)).toEqual(['a has room']);
    mesh.delete(b, keyOf(3));
    expect(told).toEqual([]);
  });

  it('a key that replaced another one counts once', () => {
    const { mesh, told, link, announce } = meshOf(4);
    const [a, b] = [link('a'), link('b')];
    announce(a, 10, 13);
    announce(b, 1, 1);
    expect(told.splice(0)).toEqual(['a crowded', 'a forgets 10']);
    mesh.delete(a, keyOf(11));
    expect(told).toEqual(['a has room']);
  });

  it('a link that ends makes room for the keys of others, and not for its own', () => {
    const { mesh, told, link, announce, known } = meshOf(8);
    const [a, b] = [link('a'), link('b')];
    announce(a, 10, 14);
    announce(b, 1, 4);
    expect(told.splice(0)).toEqual(['a crowded', 'a forgets 10']);
    announce(b, 5, 5);
    expect(told.splice(0)).toEqual(['b crowded']);
    mesh.clear(a);
    expect(told).toEqual(['b has room']);
    expect(announce(b, 5, 8)).toEqual([true, true, true, true]);
    expect(known(b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
