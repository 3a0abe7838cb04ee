/** Counts values by the first of some bounds that each does not exceed. */
export class Histogram {
  /** The last one is of those beyond all bounds. */
  readonly counts: number[];
  sum = 0;

  constructor(readonly bounds: readonly number[]) {
    this.counts = new Array(bounds.length + 1).fill(0);
  }

  observe(value: number, times = 1): void {
    const found = this.bounds.findIndex((bound) => value <= bound);
    const index = found < 0 ? this.bounds.length : found;
    this.counts[index] = (this.counts[index] as number) + times;
    this.sum += value * times;
  }
}
