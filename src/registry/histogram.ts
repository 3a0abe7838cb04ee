/** Counts values in buckets; a value belongs to the first bound that it does not exceed. */
export class Histogram {
  /** One count for each bound, and a last one for values above all bounds. */
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
