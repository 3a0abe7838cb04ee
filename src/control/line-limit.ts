/**
 * How many lines of one kind a log gets: some at once, then one in each interval. What others can cause, as often as they
 * like, has to go through one of these, or be said at level debug.
 */
export class LineLimit {
  private left: number;
  private heldBack = 0;

  /** `interval` and `now` are milliseconds, of a clock that never goes back. */
  constructor(
    private readonly burst: number,
    private readonly interval: number,
    private since: number,
  ) {
    this.left = burst;
  }

  /** Asks for a line: how many were held back since the last one, or `undefined` if this one is held back, too. */
  take(now: number): number | undefined {
    this.left = Math.min(this.burst, this.left + (now - this.since) / this.interval);
    this.since = now;
    if (this.left < 1) {
      this.heldBack += 1;
      return undefined;
    }
    const { heldBack } = this;
    this.left -= 1;
    this.heldBack = 0;
    return heldBack;
  }
}
