/** Shows progress on standard error: one line that is overwritten, or occasional lines if it is no terminal. */

export class Progress {
  #total = 0;
  #done = -1;
  #begin = 0;
  #lastLine = 0;
  #shown = 0;

  constructor(
    readonly stream: NodeJS.WriteStream,
    /** Milliseconds between two lines if lines stay. */
    readonly pause = 10_000,
  ) {}

  begin(total: number): void {
    this.#total = total;
    this.#begin = performance.now();
  }

  /** Starts the next step. */
  step(what: string): void {
    this.#done += 1;
    const now = performance.now();
    const left = this.#done > 0 ? ((now - this.#begin) / this.#done) * (this.#total - this.#done) : undefined;
    const line = `[${this.#done + 1}/${this.#total}${left === undefined ? '' : `, ${duration(left)} left`}] ${what}`;
    if (this.stream.isTTY) {
      const fitting = line.slice(0, (this.stream.columns || 80) - 1);
      this.stream.write(`\r${fitting.padEnd(this.#shown)}`);
      this.#shown = fitting.length;
    } else if (this.#done === 0 || now - this.#lastLine >= this.pause) {
      this.#lastLine = now;
      this.stream.write(`${line}\n`);
    }
  }

  /** Prints a line that stays. */
  say(line: string): void {
    this.clear();
    this.stream.write(`${line}\n`);
  }

  clear(): void {
    if (this.#shown > 0) this.stream.write(`\r${''.padEnd(this.#shown)}\r`);
    this.#shown = 0;
  }
}

function duration(milliseconds: number): string {
  const seconds = Math.round(milliseconds / 1000);
  return seconds < 90 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}
