/** A token bucket that starts full. Pure: `now` is in milliseconds on any clock that does not go back. */
export class TokenBucket {
  private tokens: number;

  constructor(
    private readonly perSecond: number,
    private readonly burst: number,
    private at: number,
  ) {
    this.tokens = burst;
  }

  /** Takes `count` tokens if the bucket has them. */
  take(count: number, now: number): boolean {
    this.refill(now);
    if (this.tokens < count) return false;
    this.tokens -= count;
    return true;
  }

  /**
   * Takes `count` tokens, at most a whole bucket, and may leave a debt. Returns the milliseconds until the debt is
   * paid.
   */
  charge(count: number, now: number): number {
    this.refill(now);
    this.tokens -= Math.min(count, this.burst);
    return this.tokens >= 0 ? 0 : (-this.tokens / this.perSecond) * 1000;
  }

  private refill(now: number): void {
    this.tokens = Math.min(this.burst, this.tokens + ((now - this.at) / 1000) * this.perSecond);
    this.at = now;
  }
}
