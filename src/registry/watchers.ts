import { peerPresentFrame } from '../protocol/frame.js';
import { type Client, presenceOf } from './client.js';

/** About 28 KB a part: a dump of 100,000 peers is pulled in 200 of them, as fast as the watcher takes them. */
const PART = 500;

/** Connections that are told who comes and goes, and how far each is with the dump that it began with. */
export class Watchers {
  private readonly dumps = new Map<number, Iterator<Client> | undefined>();

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
    this.dumps.set(id, everyone);
  }

  remove(id: number): void {
    this.dumps.delete(id);
  }

  /** The next part of a watcher's dump; `undefined` when there is none. */
  nextPart(id: number): Buffer | undefined {
    const dump = this.dumps.get(id);
    if (!dump) return undefined;
    const frames: Buffer[] = [];
    while (frames.length < PART) {
      const next = dump.next();
      if (next.done) {
        this.dumps.set(id, undefined);
        break;
      }
      frames.push(peerPresentFrame(presenceOf(next.value)));
    }
    return frames.length > 0 ? Buffer.concat(frames) : undefined;
  }
}
