/** What a tap is on every plane: batches that are fetched when somebody waits for them. */
import type { PacketTap, TapBatch } from './plane.js';

/** Room of one batch, heads included. More than the longest packet takes. */
export const TAP_BATCH_BYTES = 256 << 10;
/** Batches of one tap that have not been released: 2 MiB. */
export const TAP_BATCHES = 8;

export class TapStream implements PacketTap {
  private waiting: (() => void)[] = [];
  private stopped = false;

  constructor(
    private readonly fetch: () => TapBatch | undefined,
    private readonly onStop: () => void,
  ) {}

  /** There may be something to fetch. */
  notify(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.onStop();
    this.notify();
  }

  /** Leaving the loop over it stops the tap. */
  async *[Symbol.asyncIterator](): AsyncGenerator<TapBatch, void, undefined> {
    try {
      while (!this.stopped) {
        const batch = this.fetch();
        if (batch) yield batch;
        else await new Promise<void>((resolve) => this.waiting.push(resolve));
      }
    } finally {
      this.stop();
    }
  }
}
