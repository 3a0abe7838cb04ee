import type { WritableCounters } from '../counters.js';

/** The weight of one packet in the average. */
const WEIGHT = 0.1;

/** Moving average of the time that packets wait in queues. A packet that does not wait counts as zero. */
export class QueueTime {
  /** In milliseconds. */
  private average = 0;
  private shown = 0;

  constructor(private readonly counters: WritableCounters) {}

  waited(milliseconds: number): void {
    this.average += WEIGHT * (milliseconds - this.average);
  }

  /** Writes the average to the counter page, in whole nanoseconds. */
  show(): void {
    const nanoseconds = Math.floor(this.average * 1e6);
    if (nanoseconds === this.shown) return;
    this.shown = nanoseconds;
    this.counters.set('queue_time', nanoseconds);
  }
}
