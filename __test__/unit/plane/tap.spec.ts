/** The tap of the JavaScript plane: which packets it copies, into which batches, and what it misses. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { JsTap } from '../../../src/plane/js/tap.js';
import type { TapBatch, TapOptions } from '../../../src/plane/plane.js';
import { TAP_BATCH_BYTES, TAP_BATCHES } from '../../../src/plane/tap.js';
import { keyOf, settled } from './context.js';

const [ALICE, BOB, CAROL] = [keyOf(1), keyOf(2), keyOf(3)];
const FRAME_BYTES = 88;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: 1_800_000_000_000 });
});

afterEach(() => {
  vi.useRealTimers();
});

/** A tap, and the batches that its reader has. */
function tapping(options: Partial<TapOptions> = {}) {
  const stops = { count: 0 };
  const tap = new JsTap({ snapLength: 1 << 20, ...options } as TapOptions, () => {
    stops.count += 1;
  });
  const batches: TapBatch[] = [];
  const ended = (async () => {
    for await (const batch of tap.packets) batches.push(batch);
  })();
  return { tap, batches, stops, ended };
}

/** So many bytes as a packet of a batch. */
function record(tap: JsTap, bytes: number): void {
  tap.record(ALICE, BOB, 'other', Buffer.alloc(bytes - FRAME_BYTES));
}

/** The reader gets what there is. */
async function shown(): Promise<void> {
  vi.advanceTimersByTime(10);
  await settled();
}

describe('the packets of a tap', () => {
  it('a tap shows each packet with its facts, ten milliseconds after the first one', async () => {
    const { tap, batches } = tapping({ snapLength: 3 });
    await settled();
    tap.record(ALICE, BOB, 'other', Buffer.from('hello'));
    tap.record(BOB, CAROL, 'disco', Buffer.from('hi'), 'queue_head');
    vi.advanceTimersByTime(9);
    await settled();
    expect(batches).toEqual([]);
    vi.advanceTimersByTime(1);
    await settled();
    const [first] = batches;
    const time = 1_800_000_000_000;
    expect(first?.frames.map(({ bytes, ...frame }) => ({ ...frame, text: Buffer.from(bytes).toString() }))).toEqual([
      { time, source: ALICE, destination: BOB, kind: 'other', length: 5, text: 'hel' },
      { time, source: BOB, destination: CAROL, kind: 'disco', length: 2, text: 'hi', dropped: 'queue_head' },
    ]);
    expect([batches.length, first?.missed]).toEqual([1, 0]);
    // The next packet has its own ten milliseconds.
    tap.record(ALICE, BOB, 'other', Buffer.from('more'));
    await shown();
    expect(batches).toHaveLength(2);
  });

  it('a tap of one key shows packets of it and to it', async () => {
    const { tap, batches } = tapping({ key: BOB });
    for (const [from, to] of [
      [ALICE, BOB],
      [ALICE, CAROL],
      [BOB, CAROL],
    ] as const)
      tap.record(from, to, 'other', Buffer.alloc(1));
    await shown();
    expect(batches[0]?.frames.map(({ source, destination }) => [source, destination])).toEqual([
      [ALICE, BOB],
      [BOB, CAROL],
    ]);
  });
});

describe('the memory of a tap', () => {
  it('a batch is filled to its last byte, and the next one begins with what does not fit', async () => {
    const { tap, batches } = tapping();
    record(tap, TAP_BATCH_BYTES - 100);
    record(tap, 100);
    record(tap, FRAME_BYTES);
    await shown();
    expect(batches.map(({ frames }) => frames.length)).toEqual([2, 1]);
  });

  it('a tap misses what comes while all batches are held, and goes on once one is released', async () => {
    const { tap, batches } = tapping();
    for (let batch = 0; batch < TAP_BATCHES; batch++) record(tap, TAP_BATCH_BYTES);
    await shown();
    expect(batches).toHaveLength(TAP_BATCHES);
    record(tap, FRAME_BYTES);
    record(tap, FRAME_BYTES);
    await shown();
    expect(batches).toHaveLength(TAP_BATCHES);
    const [first] = batches;
    first?.release();
    // Once is enough.
    first?.release();
    record(tap, TAP_BATCH_BYTES);
    record(tap, FRAME_BYTES);
    await shown();
    expect(batches.slice(TAP_BATCHES).map(({ frames, missed }) => [frames.length, missed])).toEqual([[1, 3]]);
    batches[1]?.release();
    record(tap, FRAME_BYTES);
    await shown();
    expect(batches.at(-1)?.missed).toBe(0);
  });

  it('the bytes of a batch are gone once it is released', async () => {
    const { tap, batches } = tapping();
    tap.record(ALICE, BOB, 'other', Buffer.from('hello'));
    await shown();
    const bytes = batches[0]?.frames[0]?.bytes;
    expect(bytes?.length).toBe(5);
    batches[0]?.release();
    expect(bytes?.length).toBe(0);
  });

  it('a tap that is stopped says so once, and sets no timer', async () => {
    const { tap, stops, ended } = tapping();
    tap.record(ALICE, BOB, 'other', Buffer.from('hello'));
    tap.packets.stop();
    tap.packets.stop();
    await ended;
    expect(stops.count).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });
});
