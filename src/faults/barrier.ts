/** Where exceptions end. Every handler that Node, the addon or a timer calls runs behind a barrier. */

interface Emitter<Listener> {
  rawListeners(event: string): Listener[];
}

interface Source {
  on(event: string, handler: (...args: unknown[]) => void): unknown;
}

/** Takes what a handler has thrown. `what` names the handler, and is one of a bounded number of texts. */
export type Report = (what: string, error: unknown) => void;

/**
 * Whatever a handler throws costs what the handler was for, such as one connection, and nothing else: neither the process
 * nor the program that embeds the relay, nor what else the caller was about to do.
 */
export class Barrier {
  constructor(private readonly report: Report) {}

  /**
   * Runs a handler and returns what it returns. If it throws, the error is reported, `end` ends what the handler was for,
   * and nothing is returned. Never throws itself, whatever `end` and the report do.
   */
  run<T>(what: string, act: () => T, end?: () => void): T | undefined {
    try {
      return act();
    } catch (error) {
      this.failed(what, error, end);
      return undefined;
    }
  }

  /** Makes a handler that others call later. `end` gets the same arguments. */
  guard<Args extends unknown[]>(
    what: string,
    handler: (...args: Args) => void,
    end?: (...args: Args) => void,
  ): (...args: Args) => void {
    return (...args) => this.run(what, () => handler(...args), end && (() => end(...args)));
  }

  /** Listens to what `from` emits, with a handler for each event. */
  on(from: Source, what: string, handlers: Readonly<Record<string, (...args: never[]) => void>>, end?: () => void) {
    for (const [event, handler] of Object.entries(handlers)) {
      from.on(event, (...args) => this.run(`${what}: ${event}`, () => handler(...(args as never[])), end));
    }
  }

  /** Calls the listeners of the program that embeds us. Whatever one throws, or rejects with, is no concern of the others. */
  emit<Listener>(from: Emitter<Listener>, event: string, args: readonly unknown[]): void {
    const what = `a listener of ${event}`;
    for (const listener of from.rawListeners(event)) {
      const result = this.run(what, () => Reflect.apply(listener as () => unknown, from, args));
      if (result instanceof Promise) void this.settle(what, result);
    }
  }

  /** Sees to a promise whose rejection would be nobody's. What is returned never rejects. */
  async settle(what: string, promise: Promise<unknown>, end?: () => void): Promise<void> {
    try {
      await promise;
    } catch (error) {
      this.failed(what, error, end);
    }
  }

  private failed(what: string, error: unknown, end: (() => void) | undefined): void {
    this.tell(what, error);
    if (!end) return;
    try {
      end();
    } catch (second) {
      this.tell(what, second);
    }
  }

  private tell(what: string, error: unknown): void {
    try {
      this.report(what, error);
    } catch {
      // There is nobody left to tell.
    }
  }
}
