/** A packet may stand this long; on a slow link, as long as two packets take. See `DrainRate.target`. In microseconds. */
export const TARGET = 5_000;
/** How long packets have to stand too long before one is dropped. In microseconds. */
export const INTERVAL = 100_000;
/** Within this time, a source that begins to be dropped again goes on nearly as fast as before. */
const MEMORY = 16 * INTERVAL;

/**
 * Which packets of one source are too old (CoDel, RFC 8289). If packets stand longer than the target for a whole interval,
 * one is dropped at the head, and further ones more and more often until packets are in time again. Times are whole
 * microseconds.
 */
export class Codel {
  /** When a packet may be dropped, if packets stand too long until then; 0 while they do not. */
  private aboveFrom = 0;
  private dropping = false;
  private dropNext = 0;
  /** Drops since dropping began, and what the count was when it began. */
  private count = 0;
  private lastCount = 0;

  /** Whether the packet at the head, which has stood since `since`, has to go. Called again for the next one if it has. */
  drops(since: number, isLast: boolean, target: number, now: number): boolean {
    const isLate = this.standsTooLong(since, isLast, target, now);
    if (this.dropping) {
      this.dropping = isLate;
      const isDue = isLate && now >= this.dropNext;
      if (isDue) {
        this.count += 1;
        this.dropNext = spaced(this.dropNext, this.count);
      }
      return isDue;
    }
    if (isLate) {
      const sinceThen = this.count - this.lastCount;
      const isSoon = now - this.dropNext < MEMORY;
      this.count = isSoon ? Math.max(sinceThen, 1) : 1;
      this.lastCount = this.count;
      this.dropNext = spaced(now, this.count);
      this.dropping = true;
    }
    return isLate;
  }

  /** Nothing stands, or what stands is not judged. */
  rest(): void {
    this.aboveFrom = 0;
    this.dropping = false;
  }

  private standsTooLong(since: number, isLast: boolean, target: number, now: number): boolean {
    if (isLast || now - since < target) {
      this.aboveFrom = 0;
      return false;
    }
    if (this.aboveFrom === 0) {
      this.aboveFrom = now + INTERVAL;
      return false;
    }
    return now >= this.aboveFrom;
  }
}

/** The more packets were dropped, the sooner the next one is. */
function spaced(after: number, count: number): number {
  return after + Math.floor(INTERVAL / Math.sqrt(count));
}
