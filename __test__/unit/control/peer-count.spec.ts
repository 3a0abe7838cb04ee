import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PeerCount } from '../../../src/control/peer-count.js';
import { Barrier } from '../../../src/faults/barrier.js';
import { STRICT } from '../../helpers/strict-barrier.js';

let told: string[];
let count: PeerCount;

beforeEach(() => {
  vi.useFakeTimers();
  told = [];
  count = new PeerCount((peers, first) => told.push(`${first ? 'first ' : ''}${peers}`), STRICT);
});

afterEach(() => {
  count.stop();
  vi.useRealTimers();
});

it('the count is reported 200 ms after the last announcement of the flood', () => {
  count.start();
  for (let peers = 1; peers <= 10; peers++) {
    vi.advanceTimersByTime(150);
    count.changed(peers, false);
  }
  vi.advanceTimersByTime(199);
  expect(told).toEqual([]);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(['first 10']);
});

it('the count is reported after 2 s at the latest', () => {
  count.start();
  for (let peers = 1; peers <= 20; peers++) {
    vi.advanceTimersByTime(100);
    count.changed(peers, false);
  }
  expect(told).toEqual(['first 19']);
});

it('the count is reported at once when a key is withdrawn', () => {
  count.start();
  count.changed(5, false);
  count.changed(4, true);
  expect(told).toEqual(['first 4']);
});

it('a count of zero is reported if no key is announced', () => {
  count.start();
  vi.advanceTimersByTime(2000);
  expect(told).toEqual(['first 0']);
});

it('a changing count is reported every ten seconds, and only then', () => {
  count.start();
  count.changed(1, true);
  count.changed(2, false);
  count.changed(3, false);
  vi.advanceTimersByTime(9_999);
  expect(told).toEqual(['first 1']);
  vi.advanceTimersByTime(1);
  expect(told).toEqual(['first 1', '3']);
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual(['first 1', '3']);
  count.changed(4, false);
  count.changed(3, true);
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual(['first 1', '3']);
});

it('a listener of the count that fails is reported', () => {
  const reported: string[] = [];
  const barrier = new Barrier((what, error) => void reported.push(`${what}: ${(error as Error).message}`));
  const failing = new PeerCount(() => {
    throw new Error('no log');
  }, barrier);
  failing.start();
  vi.advanceTimersByTime(2_000);
  failing.stop();
  expect(reported).toEqual(['the count of a mesh link: no log']);
});

it('no count is reported after the end of the link, and the next link starts again', () => {
  count.start();
  count.changed(3, false);
  count.stop();
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  count.start();
  count.changed(1, true);
  expect(told).toEqual(['first 1']);
});
