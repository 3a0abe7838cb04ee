import type { NodeKey } from './key.js';

/** A set of node keys in the order of their addition. Every operation takes constant time. */
export class KeyQueue implements Iterable<NodeKey> {
  private readonly keys = new Set<NodeKey>();
  /** Stands at the oldest key. A new iterator for each take would step over every key taken before. */
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

  /** Returns whether the queue had the key. */
  delete(key: NodeKey): boolean {
    return this.keys.delete(key);
  }

  /** Removes the oldest key and returns it. */
  takeOldest(): NodeKey | undefined {
    this.oldest ??= this.keys.values();
    const { done, value } = this.oldest.next();
    if (done) {
      // An exhausted iterator does not see keys that are added later.
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
