/** Questions under way: equal ones are one, and no more than some are asked at once. */

interface Pending<T> {
  readonly answer: Promise<T>;
  readonly abort: AbortController;
  /** Those that still want to know. */
  waiting: number;
}

export class PendingQuestions<T> {
  private readonly pending = new Map<string, Pending<T>>();
  private readonly queue = new Set<() => void>();
  private asking = 0;

  constructor(private readonly atOnce: number) {}

  /** Questions that are being asked, and those that wait for their turn. */
  get counts(): { readonly asking: number; readonly waiting: number } {
    return { asking: this.asking, waiting: this.queue.size };
  }

  /** Asks, or joins whom has asked the same. Rejects when `signal` aborts; when all have gone, so does the question. */
  ask(question: string, signal: AbortSignal, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const known = this.pending.get(question) ?? this.begin(question, ask);
    known.waiting += 1;
    return new Promise((resolve, reject) => {
      const leave = () => {
        known.waiting -= 1;
        if (known.waiting === 0) {
          // Nobody is to join what is being given up.
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
      return await ask(signal);
    } finally {
      // Whoever is next takes this place.
      const [next] = this.queue;
      if (next) next();
      else this.asking -= 1;
    }
  }

  /** Resolves with a place among those that are asked. */
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
