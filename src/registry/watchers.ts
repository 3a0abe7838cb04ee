import { peerPresentFrame } from '../protocol/frame.js';
import { type Client, presenceOf } from './client.js';
import { Histogram } from './histogram.js';

/** About 28 KB a part: a dump of 100,000 peers is pulled in 200 of them, as fast as the watcher takes them. */
const PART = 500;

/** What is left to be told of those who were here before, and in how many parts the others were told of. */
interface Dump {
  readonly everyone: Iterator<Client>;
  parts: number;
}

/** Connections that are told who comes and goes, and how far each is with the dump that it began with. */
export class Watchers {
  /** How many changes each watcher is told of at once, and in how many parts it is told all that there is to tell then. */
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
   * Subscribes. `everyone` is a live view: whoever comes while the dump goes on may be told of twice, whoever leaves may
   * be announced as gone without ever having been present. Neither hurts.
   */
  add(id: number, everyone: Iterator<Client>): void {
    this.dumps.set(id, { everyone, parts: 0 });
  }

  /** Everybody is told of one change. */
  toldOfChange(): void {
    this.batches.observe(1, this.size);
    this.loops.observe(1, this.size);
  }

  remove(id: number): void {
    this.dumps.delete(id);
  }

  /** The next part of a watcher's dump; `undefined` when there is none. */
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
