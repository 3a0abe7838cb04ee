import { describe, expect, it } from 'vitest';
import { TokenBucket } from '../../../src/plane/js/token-bucket.js';

describe('the token bucket', () => {
  it('a token bucket starts full', () => {
    const bucket = new TokenBucket(1, 3, 1000);
    expect(taken(bucket, 1000, 5)).toBe(3);
  });

  it('a token bucket fills at its rate, even between whole seconds', () => {
    const bucket = new TokenBucket(2, 4, 0);
    taken(bucket, 0, 4);
    expect(bucket.take(1, 499)).toBe(false);
    expect(bucket.take(1, 500)).toBe(true);
    expect(bucket.take(1, 501)).toBe(false);
    expect(bucket.take(1, 1000)).toBe(true);
  });

  it('a token bucket fills no further than its burst', () => {
    const bucket = new TokenBucket(1, 3, 0);
    expect(taken(bucket, 3_600_000, 10)).toBe(3);
  });

  it('a token bucket gives all tokens of a request or none', () => {
    const bucket = new TokenBucket(1, 10, 0);
    expect(bucket.take(11, 0)).toBe(false);
    expect(bucket.take(10, 0)).toBe(true);
    expect(bucket.take(1, 999)).toBe(false);
  });

  it('a token bucket limits PeerGone as upstream does: three at once, then one a second', () => {
    const bucket = new TokenBucket(1, 3, 0);
    const passed = Array.from({ length: 100 }, (_, index) => index * 125).filter((now) => bucket.take(1, now));
    expect(passed.slice(0, 4)).toEqual([0, 125, 250, 1000]);
    // The burst, and one for each second after.
    expect(passed).toHaveLength(3 + 12);
  });
});

function taken(bucket: TokenBucket, now: number, tries: number): number {
  return Array.from({ length: tries }).filter(() => bucket.take(1, now)).length;
}
