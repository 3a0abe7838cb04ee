import { describe, expect, it } from 'vitest';
import { isLater } from '../../../../src/control/directory/directory.js';
import { Generations } from '../../../../src/control/directory/generations.js';
import {
  readClaim,
  readHeld,
  readLeaving,
  readPlace,
  writeClaim,
  writeHeld,
  writePlace,
} from '../../../../src/control/directory/messages.js';
import type { NodeKey } from '../../../../src/protocol/key.js';

const [a, b] = ['a'.repeat(32), 'b'.repeat(32)] as [NodeKey, NodeKey];
const place = { relay: a, generation: 1_790_000_000_123 };

describe('what messages say', () => {
  it('places, claims and answers to claims read back as they were written', () => {
    expect(readPlace(writePlace(place))).toEqual(place);
    for (const isNew of [true, false]) expect(readClaim(writeClaim({ place, isNew }))).toEqual({ place, isNew });
    expect(readHeld(writeHeld({ place, to: b }))).toEqual({ place, to: b });
    expect(readLeaving(Buffer.from(b))).toBe(b);
  });

  it('no other length is read', () => {
    const rows: [Buffer, (body: Buffer) => unknown][] = [
      [writePlace(place), readPlace],
      [writeClaim({ place, isNew: true }), readClaim],
      [writeHeld({ place, to: b }), readHeld],
      [Buffer.from(a), readLeaving],
    ];
    for (const [body, read] of rows) {
      for (let length = 0; length < body.length; length += 1) expect(read(body.subarray(0, length))).toBeUndefined();
      expect(read(Buffer.concat([body, Buffer.alloc(1)]))).toBeUndefined();
    }
  });

  it.each([-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53])('the generation %d is none', (generation) => {
    const wrong = { relay: a, generation };
    expect(readPlace(writePlace(wrong))).toBeUndefined();
    expect(readClaim(writeClaim({ place: wrong, isNew: true }))).toBeUndefined();
    expect(readHeld(writeHeld({ place: wrong, to: b }))).toBeUndefined();
  });

  it('a claim is new, or it is not', () => {
    const body = writeClaim({ place, isNew: true });
    body[body.length - 1] = 2;
    expect(readClaim(body)).toBeUndefined();
  });
});

describe('the order of places', () => {
  it('the larger generation is later, and among equal ones the larger relay; no place is later than itself', () => {
    const at = (relay: NodeKey, generation: number) => ({ relay, generation });
    expect(isLater(at(a, 2), at(b, 1))).toBe(true);
    expect(isLater(at(b, 1), at(a, 2))).toBe(false);
    expect(isLater(at(b, 1), at(a, 1))).toBe(true);
    expect(isLater(at(a, 1), at(b, 1))).toBe(false);
    expect(isLater(at(a, 1), at(a, 1))).toBe(false);
  });
});

describe('generations', () => {
  it('a key gets the time, or more than was seen of it', () => {
    const generations = new Generations();
    expect(generations.next(a, 1_000)).toBe(1_000);
    generations.see(a, 5_000);
    generations.see(a, 4_000);
    expect(generations.next(a, 1_000)).toBe(5_001);
    expect(generations.next(a, 9_000)).toBe(9_000);
    expect(generations.next(b, 1_000)).toBe(1_000);
  });

  it('the keys that were seen last are remembered, and no more', () => {
    const generations = new Generations(2);
    const c = 'c'.repeat(32) as NodeKey;
    for (const key of [a, b, a, c]) generations.see(key, 10);
    expect([a, b, c].map((key) => generations.next(key, 0))).toEqual([11, 1, 11]);
  });
});
