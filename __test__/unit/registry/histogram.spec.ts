import { expect, it } from 'vitest';
import { Histogram } from '../../../src/registry/histogram.js';

it('a histogram counts a value at the first bound that the value does not exceed', () => {
  const histogram = new Histogram([0, 1, 5]);
  for (const value of [0, 1, 1, 4, 5, 6, 100]) histogram.observe(value);
  histogram.observe(2, 10);
  expect(histogram.counts).toEqual([1, 2, 12, 2]);
  expect(histogram.sum).toBe(137);
});
