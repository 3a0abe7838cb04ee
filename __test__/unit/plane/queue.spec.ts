import { describe, expect, it } from 'vitest';
import { DrainRate } from '../../../src/plane/js/drain-rate.js';
import { type OutboundPacket, PacketQueue } from '../../../src/plane/js/queue.js';
import { seeded } from '../../helpers/random.js';
import { keyOf } from './context.js';

describe('the packet queue', () => {
  it('a queue gives packets back in their order, through every wrap-around', () => {
    const queue = new PacketQueue();
    let pushed = 0;
    let taken = 0;
    for (let round = 0; round < 50; round++) {
      for (let index = 0; index < 5; index++) expect(queue.push(packet(pushed++), 32)).toBeUndefined();
      for (let index = 0; index < (round < 25 ? 4 : 6); index++) {
        const next = shifted(queue);
        if (next) expect(numberOf(next)).toBe(taken++);
      }
    }
    expect(queue.length).toBe(pushed - taken);
  });

  it('a full queue makes room at its head', () => {
    const queue = new PacketQueue();
    for (let number = 0; number < 32; number++) expect(queue.push(packet(number), 32)).toBeUndefined();
    for (let number = 32; number < 100; number++) {
      expect(numberOf(queue.push(packet(number), 32))).toBe(number - 32);
      expect(queue.length).toBe(32);
    }
    expect(drained(queue)).toEqual(Array.from({ length: 32 }, (_, index) => 68 + index));
  });

  it('a queue of depth 1 holds the newest packet', () => {
    const queue = new PacketQueue();
    expect(queue.push(packet(0), 1)).toBeUndefined();
    expect(numberOf(queue.push(packet(1), 1))).toBe(0);
    expect(numberOf(queue.push(packet(2), 1))).toBe(1);
    expect(drained(queue)).toEqual([2]);
  });

  it.each([0, -1])('a queue of depth %i takes nothing', (depth) => {
    const queue = new PacketQueue();
    expect(numberOf(queue.push(packet(7), depth))).toBe(7);
    expect(queue.length).toBe(0);
    expect(shifted(queue)).toBeUndefined();
  });

  it('a queue is empty at first, and after its last packet', () => {
    const queue = new PacketQueue();
    expect(shifted(queue)).toBeUndefined();
    queue.push(packet(0), 4);
    shifted(queue);
    expect(shifted(queue)).toBeUndefined();
    expect(queue.length).toBe(0);
  });

  it('a queue keeps no memory when empty', () => {
    const queue = new PacketQueue();
    const state = () => queue as unknown as { flows?: Map<unknown, unknown>; fresh: unknown[]; old: unknown[] };
    for (let number = 0; number < 64; number++) queue.push(packet(number), 64);
    expect(state().flows?.size).toBe(1);
    drained(queue);
    expect([state().flows, state().fresh.length, state().old.length]).toEqual([undefined, 0, 0]);
  });

  it('the depth of a queue may change', () => {
    const queue = new PacketQueue();
    for (let number = 0; number < 8; number++) queue.push(packet(number), 8);
    // The queue is full at the new depth: one in, one out.
    expect(numberOf(queue.push(packet(8), 2))).toBe(0);
    expect(numberOf(queue.push(packet(9), 2))).toBe(1);
    expect(queue.push(packet(10), 100)).toBeUndefined();
    expect(drained(queue)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it.each([1, 2, 3])('a queue behaves as a list that is cut at its head, seed %i', (seed) => {
    const random = seeded(seed);
    const queue = new PacketQueue();
    const model: number[] = [];
    for (let step = 0; step < 5000; step++) {
      if (random() < 0.55) {
        const depth = 1 + Math.floor(random() * 3) * 12;
        const expected = model.length >= depth ? model.shift() : undefined;
        model.push(step);
        expect(numberOf(queue.push(packet(step), depth))).toBe(expected);
      } else {
        expect(numberOf(shifted(queue))).toBe(model.shift());
      }
      expect(queue.length).toBe(model.length);
    }
    expect(drained(queue)).toEqual(model);
  });
});

function packet(number: number): OutboundPacket {
  const frame = Buffer.alloc(4);
  frame.writeUInt32BE(number);
  return { frame, payload: 0, source: keyOf(0), disco: false, queuedAt: 0 };
}

/** Takes the next packet at a time at which none is too old. */
function shifted(queue: PacketQueue): OutboundPacket | undefined {
  return queue.shift(new DrainRate(), 0, () => expect.unreachable());
}

function numberOf(packet: OutboundPacket | undefined): number | undefined {
  return packet?.frame.readUInt32BE();
}

function drained(queue: PacketQueue): (number | undefined)[] {
  const numbers: (number | undefined)[] = [];
  while (queue.length > 0) numbers.push(numberOf(shifted(queue)));
  return numbers;
}
