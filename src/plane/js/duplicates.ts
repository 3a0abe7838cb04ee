/**
 * Which of several connections of one key is active, that is, gets the packets: the last one that connected or sent a
 * frame. Pure. The native plane has the same state machine, and `__test__/vectors/duplicates.json` tests both.
 */
export class Duplicates<C> {
  private readonly members: Set<C>;
  private last: C | undefined;
  /**
   * Members in the order of their latest activity: the last one takes over when the active one leaves. The second
   * connection of a key enters it only once it has sent a frame; this is derper's rule, and clients can observe it.
   */
  private readonly history: C[];

  /** `second` connects while `first` has the key. */
  constructor(first: C, second: C) {
    this.members = new Set([first, second]);
    this.history = [first];
    this.last = second;
  }

  get size(): number {
    return this.members.size;
  }

  get active(): C | undefined {
    return this.last;
  }

  [Symbol.iterator](): IterableIterator<C> {
    return this.members.values();
  }

  /** Enters a further connection, which becomes active at once. */
  add(connection: C): void {
    this.members.add(connection);
    this.last = connection;
    this.history.push(connection);
  }

  /** Notes that a member has sent a frame. */
  activity(connection: C): void {
    this.last = connection;
    if (this.history.at(-1) === connection) return;
    this.drop(connection);
    this.history.push(connection);
  }

  remove(connection: C): void {
    this.members.delete(connection);
    this.drop(connection);
    if (this.last === connection) this.last = this.history.at(-1);
    if (this.members.size === 1) this.last = this.members.values().next().value;
  }

  private drop(connection: C): void {
    const index = this.history.indexOf(connection);
    if (index >= 0) this.history.splice(index, 1);
  }
}
