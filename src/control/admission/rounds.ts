/** Schedules rechecks: each client once in an interval, spread over it. Pure: time comes as ticks. */

/** Most parts of an interval; each lasts at least a second. */
const MOST_PARTS = 600;

export class Rounds<Member> {
  /** Milliseconds between two ticks. */
  readonly tick: number;
  private readonly parts: Set<Member>[];
  private readonly partOf = new Map<Member, Set<Member>>();
  private at = 0;

  constructor(
    interval: number,
    private readonly random: () => number,
  ) {
    const parts = Math.max(1, Math.min(MOST_PARTS, Math.floor(interval / 1000)));
    this.tick = interval / parts;
    this.parts = Array.from({ length: parts }, () => new Set());
  }

  get size(): number {
    return this.partOf.size;
  }

  /** Adds a member at a random position, which it keeps, so that its turns are an interval apart. */
  add(member: Member): void {
    const part = this.parts[Math.floor(this.random() * this.parts.length)] as Set<Member>;
    part.add(member);
    this.partOf.set(member, part);
  }

  remove(member: Member): void {
    this.partOf.get(member)?.delete(member);
    this.partOf.delete(member);
  }

  /** The members whose turn is now. */
  next(): readonly Member[] {
    const part = this.parts[this.at] as Set<Member>;
    this.at = (this.at + 1) % this.parts.length;
    return [...part];
  }
}
