import type { WritableCounters } from '../counters.js';

/** What a packet weighs in the average of all. */
const WEIGHT = 0.1;

/** How long packets wait in queues: a moving average, in which one that passes at once counts as well. */
export class QueueTime {
  /** Milliseconds. */
  private average = 0;
  private shown = 0;

  constructor(private readonly counters: WritableCounters) {}

  waited(milliseconds: number): void {
    this.average += WEIGHT * (milliseconds - this.average);
  }

  /** Puts the average on the counters page, in whole nanoseconds. */
  show(): void {
    const nanoseconds = Math.floor(this.average * 1e6);
    if (nanoseconds === this.shown) return;
    this.shown = nanoseconds;
    this.counters.set('queue_time', nanoseconds);
  }
}
