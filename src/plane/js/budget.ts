import type { CounterName, WritableCounters } from '../counters.js';

/** What a budget bounds, and what happens when there is more. */
export interface BudgetRules<Holder> {
  /** The amount that each holder may have without being counted: every connection costs that much. */
  readonly free: number;
  /** Holders of at least this amount share one class, in which the oldest counts as the largest. */
  readonly alike?: number;
  /** The limit for all counted amounts together. */
  limit(): number;
  /** Counters: the amount held, and how often a holder had to give some back. */
  readonly counters: { readonly held: CounterName; readonly over: CounterName };
  /** Takes `excess` from the largest holder, or everything it has if that is less. */
  relieve(holder: Holder, excess: number): void;
}

/** A holder's amount: an element of the list of its class. */
export interface Share<Holder> {
  readonly holder: Holder;
  amount: number;
  size: number;
  older: Share<Holder> | undefined;
  newer: Share<Holder> | undefined;
}

interface Class<Holder> {
  oldest: Share<Holder> | undefined;
  newest: Share<Holder> | undefined;
}

/**
 * How much of something all connections hold together, and which of them holds the most.
 *
 * To find that connection must cost an attacker more than the relay, so nothing is sorted or searched. Each holder
 * stands in the list for the number of binary digits of its amount; the largest holder is the oldest in the highest
 * list that is not empty. It holds more than half of what any other holder does. Counting, moving and finding take
 * constant time, whatever the number of holders.
 */
export class Budget<Holder> {
  private readonly classes: Class<Holder>[] = Array.from({ length: 33 }, () => ({
    oldest: undefined,
    newest: undefined,
  }));
  private total = 0;

  constructor(
    private readonly rules: BudgetRules<Holder>,
    private readonly counters: WritableCounters,
  ) {}

  /**
   * Notes the amount of a holder. Returns its share, which the caller passes in the next call; `undefined` if it is not
   * counted.
   */
  set(share: Share<Holder> | undefined, holder: Holder, amount: number): Share<Holder> | undefined {
    const counted = amount > this.rules.free ? amount : 0;
    if (!share && counted === 0) return undefined;
    const known = share ?? { holder, amount: 0, size: 0, older: undefined, newer: undefined };
    this.total += counted - known.amount;
    this.counters.add(this.rules.counters.held, counted - known.amount);
    known.amount = counted;
    const size = 32 - Math.clz32(Math.min(counted, this.rules.alike ?? counted));
    if (size !== known.size) {
      if (known.size > 0) this.unlink(known);
      known.size = size;
      if (size > 0) this.link(known);
    }
    return counted > 0 ? known : undefined;
  }

  /** Makes the largest holders give back what exceeds the limit. The caller of {@link set} may be one of them. */
  relieve(): void {
    for (let excess = this.excess(); excess > 0; ) {
      const largest = this.largest();
      if (!largest) return;
      this.counters.add(this.rules.counters.over);
      this.rules.relieve(largest, excess);
      const left = this.excess();
      // A holder that gives nothing back must not keep this loop running.
      if (left >= excess) return;
      excess = left;
    }
  }

  private excess(): number {
    return this.total - this.rules.limit();
  }

  private largest(): Holder | undefined {
    return this.classes.findLast(({ oldest }) => oldest)?.oldest?.holder;
  }

  private link(share: Share<Holder>): void {
    const list = this.classes[share.size] as Class<Holder>;
    share.older = list.newest;
    if (list.newest) list.newest.newer = share;
    else list.oldest = share;
    list.newest = share;
  }

  private unlink(share: Share<Holder>): void {
    const list = this.classes[share.size] as Class<Holder>;
    const { older, newer } = share;
    if (older) older.newer = newer;
    else list.oldest = newer;
    if (newer) newer.older = older;
    else list.newest = older;
    share.older = undefined;
    share.newer = undefined;
  }
}
