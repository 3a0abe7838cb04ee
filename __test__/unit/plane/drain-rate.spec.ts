/** How fast a link takes what waits for it. Times are microseconds. */
import { describe, expect, it } from 'vitest';
import { DrainRate } from '../../../src/plane/js/drain-rate.js';

/** A link that takes 1.5 MB a second, at 30,000 µs. */
function known(): DrainRate {
  const rate = new DrainRate();
  rate.begins(0);
  rate.moves(10_000);
  rate.leaves(20_000);
  rate.moves(20_000);
  rate.leaves(10_000);
  rate.moves(30_000);
  expect(rate.rate).toBe(1_500_000);
  return rate;
}

describe('a pause of a reader', () => {
  it('a link stands still for as long as what it has taken at once lasts twice, without a pause', () => {
    for (const [still, isPause] of [
      [400_000, false],
      [400_001, true],
    ] as const) {
      const rate = known();
      rate.leaves(100_000);
      rate.leaves(200_000);
      rate.moves(30_000 + still);
      expect(rate.judges(0)).toBe(!isPause);
      expect(rate.judges(30_000 + still)).toBe(true);
    }
  });

  it('a link that takes little stands still for 100 ms without a pause', () => {
    for (const [still, isPause] of [
      [100_000, false],
      [100_001, true],
    ] as const) {
      const rate = known();
      rate.leaves(100);
      rate.moves(30_000 + still);
      expect(rate.judges(0)).toBe(!isPause);
    }
  });

  it('what has stood still for more than a second begins a new measurement', () => {
    const rate = known();
    rate.leaves(1_000_000_000);
    rate.moves(1_030_001);
    expect(rate.judges(0)).toBe(false);
    rate.leaves(1000);
    rate.moves(1_050_001);
    rate.leaves(150_000);
    rate.moves(1_070_001);
    // A quarter of the new measurement, and three of the old one.
    expect(rate.rate).toBe(Math.floor((3 * 1_500_000 + 7_500_000) / 4));
  });
});

describe('what may be beyond reach', () => {
  it('all of it may while the rate is unknown, and later what the link takes in 20 ms, but at least four packets', () => {
    expect(new DrainRate().ahead(65_536)).toBe(65_536);
    expect(known().ahead(65_536)).toBe(30_000);
    expect(known().ahead(20_000)).toBe(20_000);
    const slow = new DrainRate();
    slow.begins(0);
    slow.moves(50_000);
    slow.leaves(500);
    slow.moves(100_000);
    expect(slow.rate).toBe(10_000);
    expect(slow.ahead(65_536)).toBe(4 * 1514);
    expect([slow.target(100), slow.target(3000)]).toEqual([302_800, 600_000]);
    expect(new DrainRate().target(3000)).toBe(5000);
    expect(known().target(1514)).toBe(5000);
  });
});
