import type { Barrier } from '../faults/barrier.js';

/** How long after the last of a row of announcements the row counts as over, and how long at most. */
const SETTLED = 200;
const SETTLED_AT_LATEST = 2000;
/** How often a count that changes is told. */
const EVERY = 10_000;

/**
 * When to say how many peers a mesh link has announced: once the flood that it begins with is over, and then, as long as
 * the count changes, every ten seconds.
 */
export class PeerCount {
  private count = 0;
  private told = -1;
  private flooding = false;
  private latest = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly tell: (count: number, first: boolean) => void,
    private readonly barrier: Barrier,
  ) {}

  /** The link is open. */
  start(): void {
    this.flooding = true;
    this.count = 0;
    this.latest = performance.now() + SETTLED_AT_LATEST;
    this.arm(SETTLED_AT_LATEST);
  }

  /** There are as many now; with somebody `gone`, the flood was over. */
  changed(count: number, gone: boolean): void {
    this.count = count;
    if (!this.flooding) {
      this.timer ??= setTimeout(
        this.guard(() => this.tellChanged()),
        EVERY,
      ).unref();
    } else if (gone) {
      this.settle();
    } else {
      this.arm(Math.min(SETTLED, this.latest - performance.now()));
    }
  }

  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  private arm(after: number): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(
      this.guard(() => this.settle()),
      after,
    ).unref();
  }

  private guard(act: () => void): () => void {
    return this.barrier.guard('the count of a mesh link', act);
  }

  private settle(): void {
    this.stop();
    this.flooding = false;
    this.told = this.count;
    this.tell(this.count, true);
  }

  private tellChanged(): void {
    this.timer = undefined;
    if (this.count === this.told) return;
    this.told = this.count;
    this.tell(this.count, false);
  }
}
