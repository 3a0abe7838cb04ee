/** A holder's amount: an element of the list of its class. */
export class Rank<Holder> {
  amount = 0;
  size = 0;
  older: Rank<Holder> | undefined;
  newer: Rank<Holder> | undefined;

  constructor(readonly holder: Holder) {}
}

interface Class<Holder> {
  oldest: Rank<Holder> | undefined;
  newest: Rank<Holder> | undefined;
}

/**
 * Which of many holders holds the most.
 *
 * To find that one must cost an attacker more than the relay, so nothing is sorted or searched. Each holder stands in the
 * list for the number of binary digits of its amount; the largest holder is the oldest in the highest list that is not
 * empty. It holds more than half of what any other holder does. Moving and finding take constant time, whatever the number
 * of holders.
 */
export class Ranks<Holder> {
  private readonly classes: Class<Holder>[] = Array.from({ length: 33 }, () => ({
    oldest: undefined,
    newest: undefined,
  }));

  /** Notes the amount of a holder. It counts as `alike` if it is more. */
  set(rank: Rank<Holder>, amount: number, alike = amount): void {
    rank.amount = amount;
    const size = digits(Math.min(amount, alike));
    if (size === rank.size) return;
    if (rank.size > 0) this.unlink(rank);
    rank.size = size;
    if (size > 0) this.link(rank);
  }

  largest(): Rank<Holder> | undefined {
    return this.classes.findLast(({ oldest }) => oldest)?.oldest;
  }

  private link(rank: Rank<Holder>): void {
    const list = this.classes[rank.size] as Class<Holder>;
    rank.older = list.newest;
    if (list.newest) list.newest.newer = rank;
    else list.oldest = rank;
    list.newest = rank;
  }

  private unlink(rank: Rank<Holder>): void {
    const list = this.classes[rank.size] as Class<Holder>;
    const { older, newer } = rank;
    if (older) older.newer = newer;
    else list.oldest = newer;
    if (newer) newer.older = older;
    else list.newest = older;
    rank.older = undefined;
    rank.newer = undefined;
  }
}

/** The binary digits of an amount. */
export function digits(amount: number): number {
  return 32 - Math.clz32(amount);
}
