/**
 * Limits the log lines of one kind: some at once, then one in each interval. Every line that peers can cause at will
 * needs such a limit, or the level debug.
 */
export class LineLimit {
  private left: number;
  private heldBack = 0;

  /** `interval` and `now` are milliseconds of a monotonic clock. */
  constructor(
    private readonly burst: number,
    private readonly interval: number,
    private since: number,
  ) {
    this.left = burst;
  }

  /**
   * Asks for a line. Returns the number of lines held back since the last one, or `undefined` if this line is held
   * back, too.
   */
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
