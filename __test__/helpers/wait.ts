/** Waiting for conditions, each with an end; never for time to pass. */

/** How long anything may take. Far more than it does: a busy machine is no failure. */
export const PATIENCE = 45_000;

const LOOK_AGAIN = 5;

/** Looks at figures that nobody announces until `check` returns something other than `undefined` or `false`. */
export async function eventually<T>(
  check: () => T | undefined | false | Promise<T | undefined | false>,
  what: string | (() => string),
  patience = PATIENCE,
): Promise<T> {
  const end = performance.now() + patience;
  for (;;) {
    const value = await check();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`waited in vain for ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN));
  }
}

/** Milliseconds of processor time that this process spends on `work`, whatever else the machine does meanwhile. */
export function busyTime(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** Lets everything that is ready in this process happen: what was written to a socket leaves in a segment of its own. */
export async function turn(times = 2): Promise<void> {
  for (let time = 0; time < times; time++) await new Promise((resolve) => setImmediate(resolve));
}

/** Somebody's state, and those who wait for it to become something. */
export class Changes {
  private waiting = new Set<() => void>();

  notify(): void {
    const waiting = this.waiting;
    this.waiting = new Set();
    for (const wake of waiting) wake();
  }

  async until<T>(check: () => T | undefined, what: () => string, patience = PATIENCE): Promise<T> {
    const end = performance.now() + patience;
    for (;;) {
      const value = check();
      if (value !== undefined) return value;
      const left = end - performance.now();
      if (left <= 0) throw new Error(`waited in vain for ${what()}`);
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left);
        this.waiting.add(() => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }
}
