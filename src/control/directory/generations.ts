/** Generations of keys: a key that comes to a relay gets one that is later than any that the relay has seen. Pure. */
import type { NodeKey } from '../../protocol/key.js';

/** Keys whose last generation is remembered: enough for those that moved within the last seconds. */
const MOST = 65_536;

export class Generations {
  private readonly seen = new Map<NodeKey, number>();

  constructor(private readonly most = MOST) {}

  /** A relay has, or had, the key with this generation. */
  see(key: NodeKey, generation: number): void {
    const last = this.seen.get(key) ?? 0;
    // The latest stands last, so that the oldest goes first.
    this.seen.delete(key);
    this.seen.set(key, Math.max(last, generation));
    if (this.seen.size > this.most) this.seen.delete(this.seen.keys().next().value as NodeKey);
  }

  /** The generation of a key that comes here. `now` is milliseconds since 1970. */
  next(key: NodeKey, now: number): number {
    return Math.max(now, (this.seen.get(key) ?? 0) + 1);
  }
}
