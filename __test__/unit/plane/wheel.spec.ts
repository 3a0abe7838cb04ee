import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';
import { type Timed, Wheel } from '../../../src/plane/js/wheel.js';
import { seeded } from '../../helpers/random.js';

const TICK = 50;
/** The time that one turn of the wheel covers. */
const HORIZON = 512 * TICK;

/** An entry with one deadline. A visit decides whether the deadline is due. */
class Deadline implements Timed {
  readonly visits: number[] = [];
  failed = 0;
  metAt: number | undefined;

  constructor(readonly when: number) {}

  onTime(now: number): number {
    this.visits.push(now);
    if (now < this.when) return this.when;
    this.metAt ??= now;
    return Number.POSITIVE_INFINITY;
  }

  fail(): void {
    this.failed += 1;
  }
}

/** Exceptions of entries. */
let thrown: unknown[];
const barrier = new Barrier((_what, error) => thrown.push(error));

let wheel: Wheel;

beforeEach(() => {
  thrown = [];
  vi.useFakeTimers();
});

afterEach(() => {
  wheel.stop();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('deadlines on the wheel', () => {
  it.each([0, 1, 17, 49])(
    'deadlines are met, less than two ticks late, whatever the phase of the timer (%i)',
    (phase) => {
      vi.advanceTimersByTime(phase);
      wheel = new Wheel(TICK, barrier);
      const random = seeded(phase);
      const start = Wheel.now();
      const deadlines = Array.from({ length: 500 }, () => new Deadline(start + random() * 20_000));
      for (const deadline of deadlines) wheel.arm(deadline, deadline.when);
      vi.advanceTimersByTime(21_000);
      for (const { when, metAt, visits } of deadlines) {
        expect(metAt).toBeGreaterThanOrEqual(when);
        expect((metAt as number) - when).toBeLessThan(2 * TICK);
        // Within the horizon a visit is never in vain.
        expect(visits).toHaveLength(1);
      }
    },
  );

  it('deadlines on the boundary of a slot are not met early', () => {
    wheel = new Wheel(TICK, barrier);
    const start = Wheel.now();
    const deadlines = Array.from({ length: 40 }, (_, index) => new Deadline(start + index * TICK));
    for (const deadline of deadlines) wheel.arm(deadline, deadline.when);
    vi.advanceTimersByTime(60 * TICK);
    for (const { when, metAt } of deadlines) expect((metAt as number) - when).toBeGreaterThanOrEqual(0);
  });

  it('a deadline in the past is met at the next tick', () => {
    vi.advanceTimersByTime(1000);
    wheel = new Wheel(TICK, barrier);
    const late = new Deadline(Wheel.now() - 900);
    wheel.arm(late, late.when);
    vi.advanceTimersByTime(TICK);
    expect(late.metAt).toBeDefined();
  });

  it('a deadline beyond the horizon is visited on the way, and met once, in time', () => {
    wheel = new Wheel(TICK, barrier);
    const far = new Deadline(Wheel.now() + 3.5 * HORIZON);
    wheel.arm(far, far.when);
    vi.advanceTimersByTime(4 * HORIZON);
    expect(far.metAt).toBeGreaterThanOrEqual(far.when);
    expect((far.metAt as number) - far.when).toBeLessThan(2 * TICK);
    expect(far.visits.length).toBeLessThan(6);
  });

  it('a deadline of never is never visited', () => {
    wheel = new Wheel(TICK, barrier);
    const never = new Deadline(Number.POSITIVE_INFINITY);
    wheel.arm(never, Number.POSITIVE_INFINITY);
    vi.advanceTimersByTime(2 * HORIZON);
    expect(never.visits).toEqual([]);
  });

  it('a deadline that repeats is met turn after turn', () => {
    wheel = new Wheel(TICK, barrier);
    const times: number[] = [];
    const every: Timed = {
      onTime: (now) => {
        times.push(now);
        return now + 1000;
      },
      fail: () => {},
    };
    wheel.arm(every, Wheel.now() + 1000);
    vi.advanceTimersByTime(3 * HORIZON);
    const gaps = times.slice(1).map((time, index) => time - (times[index] as number));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...gaps)).toBeLessThan(1000 + 2 * TICK);
    expect(times.length).toBeGreaterThan((3 * HORIZON) / 1100 - 2);
  });
});

describe('entries of the wheel', () => {
  it('an entry in several slots is visited for each', () => {
    wheel = new Wheel(TICK, barrier);
    const entry = new Deadline(Number.POSITIVE_INFINITY);
    const start = Wheel.now();
    for (const after of [100, 300, 500]) wheel.arm(entry, start + after);
    vi.advanceTimersByTime(1000);
    expect(entry.visits).toHaveLength(3);
  });

  it('an entry armed twice for one slot is visited once', () => {
    wheel = new Wheel(TICK, barrier);
    const entry = new Deadline(Number.POSITIVE_INFINITY);
    const start = Wheel.now();
    wheel.arm(entry, start + 110);
    wheel.arm(entry, start + 120);
    vi.advanceTimersByTime(1000);
    expect(entry.visits).toHaveLength(1);
  });

  it('an entry that is armed during another’s visit is not lost', () => {
    wheel = new Wheel(TICK, barrier);
    const second = new Deadline(0);
    const first: Timed = {
      onTime: (now) => {
        wheel.arm(second, now);
        return Number.POSITIVE_INFINITY;
      },
      fail: () => {},
    };
    wheel.arm(first, Wheel.now() + 100);
    vi.advanceTimersByTime(100 + 3 * TICK);
    expect(second.visits).toHaveLength(1);
  });
});

describe('stalls of the timer', () => {
  it.each([
    ['within the horizon', 5_000],
    ['of the horizon', HORIZON],
    ['far beyond the horizon', 10 * HORIZON + 7],
  ])('a stall %s makes all passed deadlines due at once, and keeps later ones', (_name, stall) => {
    let clock = 12_345;
    vi.spyOn(Wheel, 'now').mockImplementation(() => clock);
    wheel = new Wheel(TICK, barrier);
    const due = Array.from({ length: 100 }, (_, index) => new Deadline(clock + (stall * index) / 100));
    const later = new Deadline(clock + stall + 1000);
    for (const deadline of [...due, later]) wheel.arm(deadline, deadline.when);
    clock += stall + TICK;
    vi.advanceTimersByTime(TICK);
    expect(due.filter(({ metAt }) => metAt === undefined)).toEqual([]);
    expect(later.metAt).toBeUndefined();
    for (let tick = 0; tick < 30; tick++) {
      clock += TICK;
      vi.advanceTimersByTime(TICK);
    }
    expect(later.metAt).toBeGreaterThanOrEqual(later.when);
    expect((later.metAt as number) - later.when).toBeLessThan(2 * TICK);
  });
});

describe('the timer of the wheel', () => {
  it('a stopped wheel visits no entry', () => {
    wheel = new Wheel(TICK, barrier);
    const entry = new Deadline(Wheel.now() + 100);
    wheel.arm(entry, entry.when);
    wheel.stop();
    vi.advanceTimersByTime(1000);
    expect(entry.visits).toEqual([]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a wheel has one timer for any number of entries, and keeps no process alive', () => {
    vi.useRealTimers();
    wheel = new Wheel(TICK, barrier);
    expect((wheel as unknown as { timer: NodeJS.Timeout }).timer.hasRef()).toBe(false);
    vi.useFakeTimers();
    wheel.stop();
    wheel = new Wheel(TICK, barrier);
    for (let index = 0; index < 100; index++) wheel.arm(new Deadline(index), index);
    expect(vi.getTimerCount()).toBe(1);
  });
});
