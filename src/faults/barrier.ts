/** Barriers catch exceptions. Every handler that Node, the addon or a timer calls runs behind one. */

interface Emitter<Listener> {
  rawListeners(event: string): Listener[];
}

interface Source {
  on(event: string, handler: (...args: unknown[]) => void): unknown;
}

/** Receives an exception of a handler. `what` names the handler; the number of such names is bounded. */
export type Report = (what: string, error: unknown) => void;

/**
 * Confines an exception of a handler to the subject of the handler, such as one connection. The process, the embedding
 * program and the rest of the caller's work go on.
 */
export class Barrier {
  constructor(private readonly report: Report) {}

  /**
   * Runs a handler and returns its result. If it throws, reports the error, calls `end` to end the handler's subject,
   * and returns undefined. Never throws, even if `end` or the report does.
   */
  run<T>(what: string, act: () => T, end?: () => void): T | undefined {
    try {
      return act();
    } catch (error) {
      this.failed(what, error, end);
      return undefined;
    }
  }

  /** Wraps a handler that others call later. `end` gets the handler's arguments. */
  guard<Args extends unknown[]>(
    what: string,
    handler: (...args: Args) => void,
    end?: (...args: Args) => void,
  ): (...args: Args) => void {
    return (...args) => this.run(what, () => handler(...args), end && (() => end(...args)));
  }

  /** Adds a guarded handler for each of the events of `from`. */
  on(from: Source, what: string, handlers: Readonly<Record<string, (...args: never[]) => void>>, end?: () => void) {
    for (const [event, handler] of Object.entries(handlers)) {
      from.on(event, (...args) => this.run(`${what}: ${event}`, () => handler(...(args as never[])), end));
    }
  }

  /** Calls the embedding program's listeners. An exception or rejection of one does not affect the others. */
  emit<Listener>(from: Emitter<Listener>, event: string, args: readonly unknown[]): void {
    const what = `a listener of ${event}`;
    for (const listener of from.rawListeners(event)) {
      const result = this.run(what, () => Reflect.apply(listener as () => unknown, from, args));
      if (result instanceof Promise) void this.settle(what, result);
    }
  }

  /** Handles the rejection of a promise that no code awaits. The returned promise never rejects. */
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
      // The report itself failed; there is no other place to report that.
    }
  }
}
