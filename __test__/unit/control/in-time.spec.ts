import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { inTime } from '../../../src/control/in-time.js';

const NEVER = new Promise<never>(() => {});

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
});

afterEach(() => {
  vi.useRealTimers();
});

/** What has become of a promise by now. */
function fateOf(promise: Promise<unknown>): { readonly fate: unknown } {
  const seen: { fate: unknown } = { fate: 'pending' };
  promise.then(
    (value) => {
      seen.fate = value;
    },
    (error: Error) => {
      seen.fate = error.message;
    },
  );
  return seen;
}

it.each<[string, () => Promise<unknown>, unknown]>([
  ['resolves', async () => 'an answer', 'an answer'],
  ['rejects', () => Promise.reject(new Error('a reason')), 'a reason'],
])('a promise that %s in time is passed on, and no timer stays', async (_what, promise, expected) => {
  const seen = fateOf(inTime(promise(), 1_000, 'late'));
  await vi.advanceTimersByTimeAsync(0);
  expect(seen.fate).toBe(expected);
  expect(vi.getTimerCount()).toBe(0);
});

it('a promise that takes longer is late once its time is over', async () => {
  const seen = fateOf(inTime(NEVER, 1_000, 'no answer in time'));
  await vi.advanceTimersByTimeAsync(999);
  expect(seen.fate).toBe('pending');
  await vi.advanceTimersByTimeAsync(1);
  expect(seen.fate).toBe('no answer in time');
});

it('a promise for which no time is left is late at once, and an answer that is there counts', async () => {
  const [late, there] = [inTime(NEVER, -5, 'late'), inTime(Promise.resolve(1), -5, 'late')].map(fateOf);
  await vi.advanceTimersByTimeAsync(0);
  expect([late?.fate, there?.fate]).toEqual(['late', 1]);
});
