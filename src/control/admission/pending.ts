/** Questions in progress: equal questions are asked once, and only a bounded number at once. */

interface Pending<T> {
  readonly answer: Promise<T>;
  readonly abort: AbortController;
  /** How many callers wait for the answer. */
  waiting: number;
}

export class PendingQuestions<T> {
  private readonly pending = new Map<string, Pending<T>>();
  private readonly queue = new Set<() => void>();
  private asking = 0;

  constructor(private readonly atOnce: number) {}

  /** Questions that are being asked, and questions that wait for their turn. */
  get counts(): { readonly asking: number; readonly waiting: number } {
    return { asking: this.asking, waiting: this.queue.size };
  }

  /**
   * Asks a question, or joins an equal one. Rejects when `signal` aborts. When every caller has aborted, the question
   * is aborted.
   */
  ask(question: string, signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const known = this.pending.get(question) ?? this.begin(question, ask);
    known.waiting += 1;
    return new Promise((resolve, reject) => {
      const leave = () => {
        known.waiting -= 1;
        if (known.waiting === 0) {
          // No further caller may join a question that is being aborted.
          if (this.pending.get(question) === known) this.pending.delete(question);
          known.abort.abort();
        }
        reject(new Error('no client waits for the answer any more'));
      };
      if (signal.aborted) {
        leave();
        return;
      }
      signal.addEventListener('abort', leave, { once: true });
      known.answer.then(resolve, reject).finally(() => signal.removeEventListener('abort', leave));
    });
  }

  private begin(question: string, ask: (signal: AbortSignal) => Promise<T>): Pending<T> {
    const abort = new AbortController();
    const answer = this.run(abort.signal, ask).finally(() => {
      if (this.pending.get(question) === pending) this.pending.delete(question);
    });
    answer.catch(() => {});
    const pending: Pending<T> = { answer, abort, waiting: 0 };
    this.pending.set(question, pending);
    return pending;
  }

  private async run(signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    await this.turn(signal);
    try {
      // The last caller may have left while the turn came.
      signal.throwIfAborted();
      return await ask(signal);
    } finally {
      // The next question in the queue takes this turn.
      const [next] = this.queue;
      if (next) next();
      else this.asking -= 1;
    }
  }

  /** Resolves when the question may be asked. */
  private turn(signal: AbortSignal): Promise<void> {
    if (this.asking < this.atOnce) {
      this.asking += 1;
      return Promise.resolve();
    }
    return new Promise((resolve, reject) => {
      const go = () => {
        this.queue.delete(go);
        signal.removeEventListener('abort', leave);
        resolve();
      };
      const leave = () => {
        this.queue.delete(go);
        reject(new Error('given up'));
      };
      this.queue.add(go);
      signal.addEventListener('abort', leave, { once: true });
    });
  }
}
