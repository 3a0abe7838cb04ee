import { peerPresentFrame } from '../protocol/frame.js';
import { type Client, presenceOf } from './client.js';
import { Histogram } from './histogram.js';

/**
 * PeerPresent frames in one part of a dump: about 28 KB. A watcher pulls a dump of 100,000 peers in 200 parts, at its
 * own pace.
 */
const PART = 500;

/** A dump under way: the clients that it has not sent yet, and the number of parts sent. */
interface Dump {
  readonly everyone: Iterator<Client>;
  parts: number;
}

/** The mesh peers that watch connections, and the progress of each one's dump. */
export class Watchers {
  /** `batches`: changes in each batch for a watcher. `loops`: batches in a row for a watcher. */
  readonly batches = new Histogram([0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]);
  readonly loops = new Histogram([0, 1, 2, 5, 10, 20, 50, 100]);
  private readonly dumps = new Map<number, Dump | undefined>();

  get ids(): number[] {
    return [...this.dumps.keys()];
  }

  get size(): number {
    return this.dumps.size;
  }

  /**
   * Subscribes a watcher. `everyone` is a live view. During the dump, a watcher may hear twice of a client that
   * connects, and may get PeerGone for a client that it never heard of. Both are harmless.
   */
  add(id: number, everyone: Iterator<Client>): void {
    this.dumps.set(id, { everyone, parts: 0 });
  }

  /** Notes that every watcher gets one change. */
  toldOfChange(): void {
    this.batches.observe(1, this.size);
    this.loops.observe(1, this.size);
  }

  remove(id: number): void {
    this.dumps.delete(id);
  }

  /** The next part of a watcher's dump; `undefined` if nothing is left. */
  nextPart(id: number): Buffer | undefined {
    const dump = this.dumps.get(id);
    if (!dump) return undefined;
    const frames: Buffer[] = [];
    let whole = false;
    while (frames.length < PART && !whole) {
      const next = dump.everyone.next();
      if (next.done) whole = true;
      else frames.push(peerPresentFrame(presenceOf(next.value)));
    }
    if (frames.length > 0) {
      dump.parts += 1;
      this.batches.observe(frames.length);
    }
    if (whole) {
      this.dumps.set(id, undefined);
      this.loops.observe(dump.parts);
    }
    return frames.length > 0 ? Buffer.concat(frames) : undefined;
  }
}
