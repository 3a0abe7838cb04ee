import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { DrainRate } from '../../../src/plane/js/drain-rate.js';
import { type OutboundPacket, PacketQueue } from '../../../src/plane/js/queue.js';
import { keyOf } from './context.js';

type Step =
  | readonly ['push', now: number, source: number, bytes: number, depth: number, gone: number | null]
  | readonly ['pop', now: number, taken: number | null, late: readonly number[], rate: number, ahead: number]
  | readonly ['evict', now: number, gone: number | null];

const { cases } = JSON.parse(readFileSync(new URL('../../vectors/queues.json', import.meta.url), 'utf8')) as {
  cases: Readonly<Record<string, readonly Step[]>>;
};

describe('a queue of several sources, step by step as the other plane', () => {
  it.each(Object.entries(cases))('drops and orders packets in the case %s', (_name, steps) => {
    const queue = new PacketQueue();
    const rate = new DrainRate();
    let number = 0;
    steps.forEach((step, index) => {
      const place = `step ${index}: ${JSON.stringify(step)}`;
      const [op, now] = step;
      if (op === 'push') {
        number += 1;
        if (queue.length === 0) rate.begins(now);
        const [, , source, bytes, depth, gone] = step;
        expect(queue.push(packet(number, source, bytes, now), depth)?.payload ?? null, place).toBe(gone);
      } else if (op === 'pop') {
        const [, , taken, expected, ...figures] = step;
        const late: number[] = [];
        rate.moves(now);
        const next = queue.shift(rate, now, ({ payload }) => late.push(payload));
        expect(next?.payload ?? null, place).toBe(taken);
        expect(late, place).toEqual(expected);
        expect([rate.rate, rate.ahead(65536)], place).toEqual(figures);
      } else {
        expect(queue.evict()?.payload ?? null, place).toBe(step[2]);
      }
    });
  });
});

describe('a queue of several sources', () => {
  it('never drops the last packet of a source for its age', () => {
    const queue = new PacketQueue();
    const rate = new DrainRate();
    rate.begins(0);
    for (let now = 0; now < 5_000_000; now += 50_000) {
      queue.push(packet(now, 1, 1400, 0), 32);
      rate.moves(now);
      expect(queue.shift(rate, now, () => expect.unreachable())?.payload).toBe(now);
    }
  });

  it('takes from the source with the older packet if several have as much', () => {
    const queue = new PacketQueue();
    queue.push(packet(1, 1, 1400, 0), 8);
    queue.push(packet(2, 2, 1400, 0), 8);
    expect(queue.evict()?.payload).toBe(1);
    // The source that was there first has the later packet now.
    queue.push(packet(3, 1, 1400, 0), 8);
    expect(queue.evict()?.payload).toBe(2);
    queue.push(packet(4, 3, 1400, 0), 8);
    queue.push(packet(5, 3, 10, 0), 8);
    expect(queue.evict()?.payload).toBe(4);
  });

  it('remembers a bounded number of sources without packets', () => {
    const queue = new PacketQueue();
    const flows = () => (queue as unknown as { flows: Map<unknown, unknown> }).flows.size;
    queue.push(packet(0, 1, 1400, 0), 4);
    queue.push(packet(1, 1, 1400, 0), 4);
    for (let source = 2; source < 1000; source++) {
      queue.push(packet(source, source, 10, 0), 4);
      queue.shift(new DrainRate(), 0, () => expect.unreachable());
      expect(flows()).toBeLessThanOrEqual(8);
    }
  });
});

function packet(number: number, source: number, bytes: number, queuedAt: number): OutboundPacket {
  return { frame: Buffer.alloc(bytes), payload: number, source: keyOf(source), disco: false, queuedAt };
}
