/** Bounds the dials that begin at once, so that a list of addresses without relays does not delay good ones. */
export class DialPlaces {
  private taken = 0;
  private readonly waiting: Waiting[] = [];

  /**
   * `places` dials hold a place at once, each for at most `hold` milliseconds: a dial that takes longer, as to an address
   * that does not answer, goes on without one.
   */
  constructor(
    private readonly places: number,
    private readonly hold: number,
  ) {}

  /**
   * Resolves with a function that gives the place back, when there is a place. The fewest `failures` in a row come first:
   * relays that were just seen, then new ones, then those that do not answer.
   */
  take(failures: number): Promise<() => void> {
    return new Promise((resolve) => {
      this.waiting.push({ failures, resolve });
      this.fill();
    });
  }

  private fill(): void {
    while (this.taken < this.places && this.waiting.length > 0) {
      let best = 0;
      for (const [index, { failures }] of this.waiting.entries()) {
        if (failures < (this.waiting[best] as Waiting).failures) best = index;
      }
      const [next] = this.waiting.splice(best, 1) as [Waiting];
      this.taken += 1;
      next.resolve(this.place());
    }
  }

  private place(): () => void {
    let held = true;
    const release = () => {
      clearTimeout(timer);
      if (!held) return;
      held = false;
      this.taken -= 1;
      this.fill();
    };
    const timer = setTimeout(release, this.hold).unref();
    return release;
  }
}

interface Waiting {
  readonly failures: number;
  readonly resolve: (release: () => void) => void;
}
