import { digits, Rank, Ranks } from './ranks.js';

/** What one address holds. */
class Holding<Item> {
  /** The oldest first. */
  readonly items = new Set<Item>();
  readonly rank = new Rank(this);
}

/** Things that addresses hold: how much each of them does, and which one pays when there is too much of all. */
export class Shares<Item> {
  /** What all hold together. */
  total = 0;
  private readonly holdings = new Map<string, Holding<Item>>();
  private readonly ranks = new Ranks<Holding<Item>>();

  held(by: string): number {
    return this.holdings.get(by)?.rank.amount ?? 0;
  }

  add(by: string, item: Item, amount: number): void {
    const holding = this.holdings.get(by) ?? new Holding();
    this.holdings.set(by, holding);
    holding.items.add(item);
    this.change(holding, amount);
  }

  remove(by: string, item: Item, amount: number): void {
    const holding = this.holdings.get(by);
    if (!holding?.items.delete(item)) return;
    this.change(holding, -amount);
    if (holding.items.size === 0) this.holdings.delete(by);
  }

  /**
   * What makes room for an address that is going to hold `amount`: the oldest thing of the one that holds the most. There is
   * none if that one holds about as much: two that took from each other would never end.
   */
  oldest(amount: number): Item | undefined {
    const largest = this.ranks.largest();
    if (!largest || digits(largest.amount) <= digits(amount)) return undefined;
    return largest.holder.items.values().next().value;
  }

  private change(holding: Holding<Item>, by: number): void {
    this.total += by;
    this.ranks.set(holding.rank, holding.rank.amount + by);
  }
}
