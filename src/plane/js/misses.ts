import type { NodeKey } from '../../protocol/key.js';

/** Keys that are known to be nowhere, since when, and only for a while. `now` is in milliseconds. */
export class Misses {
  /** The oldest first. */
  private readonly since = new Map<NodeKey, number>();

  get size(): number {
    return this.since.size;
  }

  /** Enters a key. Of more than `most`, the oldest go. */
  add(
    key: NodeKey,
    now: number,
    { misses: most, missTime }: { readonly misses: number; readonly missTime: number },
  ): void {
    this.since.delete(key);
    this.since.set(key, now);
    for (const [oldest, at] of this.since) {
      if (this.since.size <= most && now - at < missTime) break;
      this.since.delete(oldest);
    }
  }

  has(key: NodeKey, now: number, missTime: number): boolean {
    const at = this.since.get(key);
    return at !== undefined && now - at < missTime;
  }

  delete(key: NodeKey): void {
    this.since.delete(key);
  }

  clear(): void {
    this.since.clear();
  }
}
