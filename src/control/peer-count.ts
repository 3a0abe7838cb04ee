import type { Barrier } from '../faults/barrier.js';

/** Milliseconds after the last announcement at which the initial flood counts as over, and the longest it may take. */
const SETTLED = 200;
const SETTLED_AT_LATEST = 2000;
/** Milliseconds between two reports of a changing count. */
const EVERY = 10_000;

/**
 * Decides when to report the number of keys of a mesh link: once the initial flood of announcements is over, then every
 * ten seconds while the number changes.
 */
export class PeerCount {
  private count = 0;
  private told = 0;
  private flooding = false;
  private latest = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly tell: (count: number, first: boolean) => void,
    private readonly barrier: Barrier,
  ) {}

  /** The link has opened. */
  start(): void {
    this.flooding = true;
    this.count = 0;
    this.latest = performance.now() + SETTLED_AT_LATEST;
    this.arm(SETTLED_AT_LATEST);
  }

  /** The count has changed. A withdrawn key (`gone`) shows that the initial flood is over. */
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
