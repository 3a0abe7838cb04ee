import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DirectoryError, type Place } from '../../../../src/control/directory/directory.js';
import { Finds, PATIENCE } from '../../../../src/control/directory/finds.js';
import type { NodeKey } from '../../../../src/protocol/key.js';

/** Few: the timers of this suite are looked through, all of them for each that fires. */
const MOST = { asked: 8, waiting: 16, answered: 8 };

const at = (relay: string, generation: number): Place => ({ relay: relay.repeat(32) as NodeKey, generation });
const key = (name: string) => name.padStart(32, '.') as NodeKey;

function setUp() {
  const asked: { key: NodeKey; token: string }[] = [];
  const later: { key: NodeKey; place: Place }[] = [];
  const state = { isComplete: true };
  const finds = new Finds(
    {
      ask: (key, token) => void asked.push({ key, token }),
      isComplete: () => state.isComplete,
      onLater: (key, place) => void later.push({ key, place }),
    },
    MOST,
  );
  const token = (name: string) => asked.findLast((one) => one.key === key(name))?.token ?? '';
  return { finds, asked, later, state, token };
}

const troubleOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'none',
    (error) => (error instanceof DirectoryError ? error.trouble : error),
  );

describe('questions to the directory', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('the first answer is the answer; a better one comes later, and no worse one', async () => {
    const { finds, later, token } = setUp();
    const answer = finds.find(key('a'));
    const asked = token('a');
    finds.answer(asked, at('x', 5));
    expect(await answer).toEqual(at('x', 5));
    for (const place of [at('x', 5), at('w', 5), at('x', 4), at('y', 5), at('y', 9), at('z', 8)])
      finds.answer(asked, place);
    expect(later).toEqual([
      { key: key('a'), place: at('y', 5) },
      { key: key('a'), place: at('y', 9) },
    ]);
    vi.advanceTimersByTime(PATIENCE);
    finds.answer(asked, at('z', 99));
    expect(later).toHaveLength(2);
    expect(finds.counts).toMatchObject({ found: 1, late: 0 });
  });

  it('questions for one key are one question, until its answer', async () => {
    const { finds, asked, token } = setUp();
    const all = [finds.find(key('a')), finds.find(key('a'))];
    expect(asked).toHaveLength(1);
    finds.nowhere(token('a'));
    expect(await Promise.all(all)).toEqual([undefined, undefined]);
    const again = finds.find(key('a'));
    expect(asked).toHaveLength(2);
    finds.answer(token('a'), at('x', 1));
    expect(await again).toEqual(at('x', 1));
    expect(finds.counts).toMatchObject({ found: 1, nowhere: 1 });
  });

  it('no answer in time is no answer, and neither is nowhere while a relay announces its keys', async () => {
    const { finds, state, token } = setUp();
    const late = troubleOf(finds.find(key('a')));
    vi.advanceTimersByTime(PATIENCE - 1);
    expect(finds.size).toBe(1);
    vi.advanceTimersByTime(1);
    expect(await late).toBe('late');
    state.isComplete = false;
    const syncing = troubleOf(finds.find(key('b')));
    finds.nowhere(token('b'));
    expect(await syncing).toBe('syncing');
    finds.nowhere(token('a'));
    finds.answer(token('a'), at('x', 1));
    expect(finds.size).toBe(0);
    expect(finds.counts).toMatchObject({ found: 0, nowhere: 0, late: 1, syncing: 1 });
  });

  it('beyond so many at once they wait for their turn, and beyond that they are refused', async () => {
    const { finds, asked } = setUp();
    const most = MOST.asked + MOST.waiting;
    const all = Array.from({ length: most + 1 }, (_, index) => finds.find(key(`${index}`)));
    expect(await troubleOf(all.at(-1) as Promise<unknown>)).toBe('crowded');
    expect(asked).toHaveLength(MOST.asked);
    expect(finds.size).toBe(most);
    // In order.
    for (let index = 0; index < most; index += 1) finds.nowhere(asked[index]?.token ?? '');
    expect(asked.map((one) => one.key)).toEqual(Array.from({ length: most }, (_, index) => key(`${index}`)));
    expect(new Set(await Promise.all(all.slice(0, -1)))).toEqual(new Set([undefined]));
    expect(finds.counts).toMatchObject({ nowhere: most, crowded: 1 });
  });

  it('those that wait run out of time, too', async () => {
    const { finds } = setUp();
    const all = Array.from({ length: MOST.asked + 1 }, (_, index) => troubleOf(finds.find(key(`${index}`))));
    vi.advanceTimersByTime(PATIENCE);
    expect(new Set(await Promise.all(all))).toEqual(new Set(['late']));
    expect(finds.size).toBe(0);
  });

  it('the end of the connection ends all of them, and none of those that wait is asked then', async () => {
    const { finds, asked, later, token } = setUp();
    const found = finds.find(key('a'));
    const first = token('a');
    finds.answer(first, at('x', 1));
    await found;
    const all = Array.from({ length: MOST.asked + 5 }, (_, index) => troubleOf(finds.find(key(`${index}`))));
    const { length } = asked;
    finds.stop();
    expect(new Set(await Promise.all(all))).toEqual(new Set(['down']));
    expect(asked).toHaveLength(length);
    finds.answer(first, at('y', 2));
    expect(later).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('the answered ones that may get a better answer are bounded', async () => {
    const { finds, asked, later } = setUp();
    for (let index = 0; index <= MOST.answered; index += 1) {
      void finds.find(key(`${index}`));
      finds.answer(asked.at(-1)?.token ?? '', at('x', 1));
    }
    finds.answer(asked[0]?.token ?? '', at('y', 2));
    expect(later).toEqual([]);
    finds.answer(asked[1]?.token ?? '', at('y', 2));
    expect(later).toHaveLength(1);
  });
});
