import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { PeerCount } from '../../../src/control/peer-count.js';
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

it('is told 200 ms after the last of the flood', () => {
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

it('is told at the latest after 2 s', () => {
  count.start();
  for (let peers = 1; peers <= 20; peers++) {
    vi.advanceTimersByTime(100);
    count.changed(peers, false);
  }
  expect(told).toEqual(['first 19']);
});

it('is told at once when somebody goes', () => {
  count.start();
  count.changed(5, false);
  count.changed(4, true);
  expect(told).toEqual(['first 4']);
});

it('is told of nobody, if nobody is announced', () => {
  count.start();
  vi.advanceTimersByTime(2000);
  expect(told).toEqual(['first 0']);
});

it('is told every ten seconds while it changes, and only then', () => {
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

it('is not told once the link has ended, and anew with the next', () => {
  count.start();
  count.changed(3, false);
  count.stop();
  vi.advanceTimersByTime(60_000);
  expect(told).toEqual([]);
  count.start();
  count.changed(1, true);
  expect(told).toEqual(['first 1']);
});
