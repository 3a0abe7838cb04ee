/** The common part of a tap on every plane: it fetches batches while a reader waits. */
import type { PacketTap, TapBatch } from './plane.js';

/** Bytes of one batch, frame headers included. More than the longest packet needs. */
export const TAP_BATCH_BYTES = 256 << 10;
/** Unreleased batches that one tap may have: 2 MiB. */
export const TAP_BATCHES = 8;

export class TapStream implements PacketTap {
  private waiting: (() => void)[] = [];
  private stopped = false;

  constructor(
    private readonly fetch: () => TapBatch | undefined,
    private readonly onStop: () => void,
  ) {}

  /** Wakes the readers: there may be a batch to fetch. */
  notify(): void {
    for (const wake of this.waiting.splice(0)) wake();
  }

  stop(): void {
    if (this.stopped) return;
    this.stopped = true;
    this.onStop();
    this.notify();
  }

  /** Leaving a loop over the tap stops it. */
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
