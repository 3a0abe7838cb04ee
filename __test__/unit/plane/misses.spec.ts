import { expect, it } from 'vitest';
import { Misses } from '../../../src/plane/js/misses.js';
import { keyOf } from './context.js';

const [FIRST, SECOND, THIRD] = [keyOf(1), keyOf(2), keyOf(3)];
const RULES = { misses: 2, missTime: 1000 };

it('a miss lasts for its time, from its last entry on', () => {
  const misses = new Misses();
  misses.add(FIRST, 0, RULES);
  expect(misses.has(FIRST, 999, 1000)).toBe(true);
  expect(misses.has(FIRST, 1000, 1000)).toBe(false);
  misses.add(FIRST, 500, RULES);
  expect(misses.has(FIRST, 1499, 1000)).toBe(true);
  expect(misses.has(SECOND, 0, 1000)).toBe(false);
});

it('of more misses than there may be the one with the oldest entry goes', () => {
  const misses = new Misses();
  for (const [at, key] of [FIRST, SECOND, FIRST, THIRD].entries()) misses.add(key, at, RULES);
  expect([FIRST, SECOND, THIRD].map((key) => misses.has(key, 5, 1000))).toEqual([true, false, true]);
});

it('misses whose time is over take no memory once another one is entered', () => {
  const misses = new Misses();
  const many = { misses: 1000, missTime: 10 };
  for (let number = 0; number < 500; number++) misses.add(keyOf(number), 0, many);
  misses.add(FIRST, 10, many);
  expect(misses.size).toBe(1);
});

it('a lower bound holds from the next entry on', () => {
  const misses = new Misses();
  for (let number = 0; number < 10; number++) misses.add(keyOf(number), 0, { misses: 10, missTime: 1000 });
  misses.add(keyOf(10), 1, RULES);
  expect(misses.size).toBe(2);
});
