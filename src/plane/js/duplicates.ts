/**
 * Which of the several connections of one key is active, that is: gets the packets. The last one to connect or to send
 * anything is. Pure; the native plane has the same machine, and `__test__/vectors/duplicates.json` holds both to it.
 */
export class Duplicates<C> {
  private readonly members: Set<C>;
  private last: C | undefined;
  /**
   * Members by their latest activity, the most recent last, each once: who takes over when `last` leaves. The second
   * connection of a key is in it only once it has sent something; that is derper's rule, and clients can see it.
   */
  private readonly history: C[];

  /** A second connection of a key that had `first`. */
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

  /** A further connection; it is active at once. */
  add(connection: C): void {
    this.members.add(connection);
    this.last = connection;
    this.history.push(connection);
  }

  /** A member has sent a frame. */
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
