import type { Barrier } from '../../faults/barrier.js';

/**
 * One timer for the deadlines of all connections. An entry may stand in several slots. When it is visited, it checks
 * its own deadlines, does what is due, and returns the time of its next visit. So arming is a set insertion, and
 * disarming needs no work.
 */
export interface Timed {
  /** Does what is due at `now`. Returns the time of the next visit; `Infinity` for none. */
  onTime(now: number): number;
  /** Ends the entry after a fault in its visit. */
  fail(): void;
}

const SLOTS = 512;

export class Wheel {
  private readonly slots: (Set<Timed> | undefined)[] = new Array(SLOTS);
  private readonly timer: NodeJS.Timeout;
  private cursor: number;
  /** The time of the last turn. For uses that can be inexact and would otherwise ask the clock with every packet. */
  time = Wheel.now();

  /** A visit is less than two ticks late: one until its slot has passed, and one until the timer fires. */
  constructor(
    private readonly tick: number,
    private readonly barrier: Barrier,
  ) {
    this.cursor = this.slotNumber(Wheel.now());
    this.timer = setInterval(() => this.turn(Wheel.now()), tick);
    this.timer.unref();
  }

  /** Monotonic milliseconds: the clock of every deadline of the plane. */
  static now(): number {
    return performance.now();
  }

  /** Visits `entry` at `when` or soon after. */
  arm(entry: Timed, when: number): void {
    if (when === Number.POSITIVE_INFINITY) return;
    // A deadline beyond the horizon gets an early visit, which arms it again.
    const number = Math.min(Math.max(this.slotNumber(when) + 1, this.cursor + 1), this.cursor + SLOTS - 1);
    const slot = number % SLOTS;
    this.slots[slot] ??= new Set();
    this.slots[slot].add(entry);
  }

  stop(): void {
    clearInterval(this.timer);
    this.slots.fill(undefined);
  }

  private turn(now: number): void {
    this.time = now;
    const end = this.slotNumber(now);
    // After a stall beyond the horizon, every slot is visited once.
    this.cursor = Math.max(this.cursor, end - SLOTS);
    while (this.cursor < end) {
      this.cursor += 1;
      const slot = this.cursor % SLOTS;
      const due = this.slots[slot];
      this.slots[slot] = undefined;
      for (const entry of due ?? []) this.visit(entry, now);
    }
  }

  private visit(entry: Timed, now: number): void {
    const next = this.barrier.run(
      'a deadline',
      () => entry.onTime(now),
      () => entry.fail(),
    );
    if (next !== undefined) this.arm(entry, next);
  }

  private slotNumber(when: number): number {
    return Math.floor(when / this.tick);
  }
}
