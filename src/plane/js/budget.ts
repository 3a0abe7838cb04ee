import type { CounterName, WritableCounters } from '../counters.js';
import { Rank, Ranks } from './ranks.js';

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

/** A holder's amount, which the budget knows. */
export type Share<Holder> = Rank<Holder>;

/** How much of something all connections hold together, and which of them holds the most. */
export class Budget<Holder> {
  private readonly ranks = new Ranks<Holder>();
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
    const known = share ?? new Rank(holder);
    this.total += counted - known.amount;
    this.counters.add(this.rules.counters.held, counted - known.amount);
    this.ranks.set(known, counted, this.rules.alike);
    return counted > 0 ? known : undefined;
  }

  /** Makes the largest holders give back what exceeds the limit. The caller of {@link set} may be one of them. */
  relieve(): void {
    for (let excess = this.excess(); excess > 0; ) {
      const largest = this.ranks.largest()?.holder;
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
}
