/** The last seconds of a relay, in which it serves on while others learn that it ends. */
export class Drain {
  private end: (() => void) | undefined;
  private begun = false;
  private closed = false;

  /** Whether the relay is about to end. */
  get isDraining(): boolean {
    return this.begun;
  }

  /** Begins, and resolves after `delay` milliseconds, or when {@link close} is called. */
  async begin(delay: number): Promise<void> {
    this.begun = true;
    if (this.closed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.end = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  close(): void {
    this.closed = true;
    this.end?.();
  }
}
