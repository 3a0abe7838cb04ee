import { beforeEach, expect, it } from 'vitest';
import { WritableCounters } from '../../../src/plane/counters.js';
import { Lookups, type WaitingStray } from '../../../src/plane/js/lookups.js';
import type { NodeKey } from '../../../src/protocol/key.js';
import { LOOKUPS } from '../../../src/relay/policy.js';
import { keyOf, policyWith } from './context.js';

const [SOURCE, KEY, OTHER] = [keyOf(1), keyOf(2), keyOf(3)];

let here: Set<NodeKey>;
let counters: WritableCounters;
let lookups: Lookups;
let log: string[];

beforeEach(() => {
  here = new Set();
  counters = new WritableCounters();
  log = [];
  const policy = { ...policyWith(), lookups: LOOKUPS };
  lookups = new Lookups(
    counters,
    () => policy,
    (key) => here.has(key),
  );
});

/** A packet that logs what becomes of it. */
function stray(name: string, destination = KEY, length = 100): WaitingStray {
  return {
    source: SOURCE,
    destination,
    asker: 'a',
    disco: name.startsWith('disco'),
    packet: Buffer.alloc(length),
    found: () => void log.push(`${name} found`),
    missing: (isNowhere) => void log.push(`${name} ${isNowhere ? 'missing' : 'dropped'}`),
  };
}

it('packets leave in the order in which they came, whatever their kind', () => {
  lookups.ask(KEY, 'a', LOOKUPS);
  for (const name of ['other 1', 'disco 1', 'other 2']) expect(lookups.push(stray(name), 2)).toBeUndefined();
  lookups.found(KEY);
  lookups.found(KEY);
  expect(log).toEqual(['other 1 found', 'disco 1 found', 'other 2 found']);
});

it('the oldest packet of the kind goes when there is one too many, and only of this key', () => {
  lookups.ask(KEY, 'a', LOOKUPS);
  lookups.ask(OTHER, 'a', LOOKUPS);
  const [first, second] = [stray('other 1'), stray('other 2')];
  expect(lookups.push(stray('disco 1'), 1)).toBeUndefined();
  expect(lookups.push(first, 1)).toBeUndefined();
  expect(lookups.push(stray('other', OTHER), 1)).toBeUndefined();
  expect(lookups.push(second, 1)).toBe(first);
  expect(lookups.push(stray('other 3'), 1)).toBe(second);
});

it('the memory of packets is counted while they wait', () => {
  lookups.ask(KEY, 'a', LOOKUPS);
  lookups.ask(OTHER, 'a', LOOKUPS);
  lookups.push(stray('other 1'), 1);
  const one = lookups.bytes;
  expect(one).toBeGreaterThan(100);
  const roomIn = (bytes: number) => lookups.makeRoom(stray('other 2'), 'a', { ...LOOKUPS, bytes });
  expect(roomIn(2 * one)).toBeUndefined();
  expect(roomIn(2 * one - 1)).toBe('crowded');
  lookups.push(stray('other 2', KEY, 50), 1);
  expect(lookups.bytes).toBe(one - 50);
  lookups.push(stray('other 3', OTHER), 1);
  lookups.missing(KEY);
  expect(lookups.bytes).toBe(one);
  lookups.stop();
  expect(lookups.bytes).toBe(0);
  expect(lookups.size).toBe(0);
});

it('a key that has a connection by then is no miss', () => {
  lookups.ask(KEY, 'a', LOOKUPS);
  lookups.push(stray('disco'), 1);
  here.add(KEY);
  lookups.missing(KEY);
  expect(log).toEqual(['disco dropped']);
  expect(lookups.misses.size).toBe(0);
  expect(counters.read('lookups:missing')).toBe(0);
});

it('the end of lookups answers all keys, and keeps no miss', () => {
  for (const key of [KEY, OTHER]) lookups.ask(key, 'a', LOOKUPS);
  lookups.push(stray('disco'), 1);
  lookups.missing(keyOf(9));
  lookups.stop();
  expect(log).toEqual(['disco missing']);
  expect(lookups.misses.size).toBe(0);
  expect(counters.read('lookups:missing')).toBe(3);
});

it.each(['disco', 'other'])('a packet %s that made room for another address leaves its place to its kind', (kind) => {
  lookups.ask(KEY, 'a', LOOKUPS);
  const later = [stray(`${kind} 2`), stray(`${kind} 3`), stray(`${kind} 4`)] as const;
  for (const one of [stray(`${kind} 1`), later[0]]) expect(lookups.push(one, 2)).toBeUndefined();
  expect(lookups.makeRoom(stray('other', OTHER), 'b', { ...LOOKUPS, bytes: lookups.bytes })).toBeUndefined();
  expect(log).toEqual([`${kind} 1 missing`]);
  expect(lookups.push(later[1], 2)).toBeUndefined();
  expect(lookups.push(later[2], 2)).toBe(later[0]);
});
