import type { NodeKey } from './key.js';

/** Node keys, each once, in the order in which they were added. Every step takes constant time. */
export class KeyQueue implements Iterable<NodeKey> {
  private readonly keys = new Set<NodeKey>();
  /** Where the oldest is. A new iterator would pass over every key that was taken before, each time. */
  private oldest: Iterator<NodeKey> | undefined;

  get size(): number {
    return this.keys.size;
  }

  has(key: NodeKey): boolean {
    return this.keys.has(key);
  }

  add(key: NodeKey): void {
    this.keys.add(key);
  }

  /** Whether it was there. */
  delete(key: NodeKey): boolean {
    return this.keys.delete(key);
  }

  /** Takes the one that was added first. */
  takeOldest(): NodeKey | undefined {
    this.oldest ??= this.keys.values();
    const { done, value } = this.oldest.next();
    if (done) {
      // An iterator that has come to the end sees nothing that is added later.
      this.oldest = undefined;
      return this.keys.size > 0 ? this.takeOldest() : undefined;
    }
    this.keys.delete(value);
    return value;
  }

  clear(): void {
    this.keys.clear();
    this.oldest = undefined;
  }

  [Symbol.iterator](): Iterator<NodeKey> {
    return this.keys.values();
  }
}
