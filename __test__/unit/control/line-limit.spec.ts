import { expect, it } from 'vitest';
import { LineLimit } from '../../../src/control/line-limit.js';

it('a limit lets some lines through at once, then one in each interval, with the number of held lines', () => {
  const limit = new LineLimit(3, 1000, 5000);
  expect(Array.from({ length: 6 }, (_, index) => limit.take(5000 + index))).toEqual([
    0,
    0,
    0,
    undefined,
    undefined,
    undefined,
  ]);
  expect(limit.take(5900)).toBeUndefined();
  expect(limit.take(6100)).toBe(4);
  expect(limit.take(6200)).toBeUndefined();
  // After a long silence it is as it was at first, and no more than that.
  expect(Array.from({ length: 5 }, () => limit.take(100_000))).toEqual([1, 0, 0, undefined, undefined]);
});
