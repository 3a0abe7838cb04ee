import { expect, it } from 'vitest';
import { DropLog } from '../../../src/control/drop-log.js';
import type { PacketDrop } from '../../../src/plane/plane.js';
import { keyOf } from '../plane/context.js';

const [ALICE, BOB] = [keyOf(1), keyOf(2)];

function drop(packets: number, more: Partial<PacketDrop> = {}): PacketDrop {
  return { source: ALICE, destination: BOB, reason: 'queue_head', packets, ...more };
}

it('one line says what was dropped between two keys, and why', () => {
  const lines = new DropLog(0).lines([drop(3), drop(1, { reason: 'unknown_dest' }), drop(2, { source: BOB })], 0);
  expect(lines).toEqual([
    { source: ALICE, destination: BOB, packets: { queue_head: 3, unknown_dest: 1 } },
    { source: BOB, destination: BOB, packets: { queue_head: 2 } },
  ]);
});

it('a pair has five lines, then one every 30 s, and no drop is forgotten', () => {
  const log = new DropLog(0);
  let said = 0;
  for (let round = 0; round < 100; round++) said += log.lines([drop(1)], round).length;
  expect(said).toBe(5);
  // Others have lines of their own.
  expect(log.lines([drop(1, { destination: ALICE })], 100)).toHaveLength(1);
  expect(log.lines([drop(1)], 29_000)).toEqual([]);
  expect(log.lines([drop(1)], 30_100)).toEqual([{ source: ALICE, destination: BOB, packets: { queue_head: 97 } }]);
  expect(log.lines([drop(1)], 30_200)).toEqual([]);
});

it('the log remembers the hundred most recent pairs', () => {
  const log = new DropLog(0);
  for (let round = 0; round < 6; round++) log.lines([drop(1)], 0);
  for (let number = 10; number < 109; number++) log.lines([drop(1, { source: keyOf(number) })], 0);
  expect(log.lines([drop(1)], 0)).toEqual([]);
  for (let number = 10; number < 110; number++) log.lines([drop(1, { source: keyOf(number) })], 0);
  expect(log.lines([drop(1)], 0)).toHaveLength(1);
});

it('all pairs together have at most one line a second in the long run', () => {
  const log = new DropLog(0);
  let said = 0;
  for (let number = 10; number < 2000; number++) said += log.lines([drop(1, { source: keyOf(number) })], 0).length;
  expect(said).toBe(500);
  expect(log.lines([drop(1, { source: keyOf(3) })], 1000)).toHaveLength(1);
  expect(log.lines([drop(1, { source: keyOf(4) })], 1001)).toEqual([]);
});
