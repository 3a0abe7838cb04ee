import type { CounterName, WritableCounters } from '../counters.js';

/** What a budget bounds, and what happens when there is more. */
export interface BudgetRules<Holder> {
  /** What every holder may have without being counted: it is part of what any connection costs. */
  readonly free: number;
  /** From this amount on holders are alike, so that the one that has held so much for longest goes first. */
  readonly alike?: number;
  /** How much all counted holders may have together. */
  limit(): number;
  /** The counters of what is held, and of how often a holder had to give something back. */
  readonly counters: { readonly held: CounterName; readonly over: CounterName };
  /** Takes `excess` from the largest holder, or all that it has. */
  relieve(holder: Holder, excess: number): void;
}

/** What one holder has, as an element of the list of its class. */
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
 * Finding that one must cost an attacker more than the relay, so nothing is sorted and nothing is searched: each holder
 * stands in the list of those whose amounts have as many binary digits as its own, and the largest is the oldest in the
 * highest list that is not empty. It holds more than half of what any other does. To count, to move and to find take a
 * constant time each, whatever the number of holders, and each unit that is taken back was brought first.
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

  /** Notes what a holder has now. Returns its share, to be handed in the next time; `undefined` if it is not counted. */
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

  /** Has the largest holders give back what is beyond the limit. Whoever has called {@link set} may be one of them. */
  relieve(): void {
    for (let excess = this.excess(); excess > 0; ) {
      const largest = this.largest();
      if (!largest) return;
      this.counters.add(this.rules.counters.over);
      this.rules.relieve(largest, excess);
      const left = this.excess();
      // A holder that keeps what it has is not asked for ever.
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
