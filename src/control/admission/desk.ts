/** One verifier with its surroundings: cache, concurrent questions, failures, figures. */
import { AnswerCache, type CacheTimes } from './cache.js';
import { PendingQuestions } from './pending.js';
import type { Answer, Question, Verifier } from './verifier.js';

export const OUTCOMES = ['allowed', 'denied', 'error', 'timeout', 'cached', 'kicked'] as const;
export type Outcome = (typeof OUTCOMES)[number];

/** Upper bounds of the histogram, in seconds. */
export const TIME_BOUNDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** derper's deadline for a check, in milliseconds. */
const CHECK_TIMEOUT = 5000;
/** Milliseconds between two log lines about a failing verifier. */
const SAY_AGAIN = 60_000;

export interface DeskOptions {
  /** Its name in logs and metrics. */
  readonly name: string;
  readonly verifier: Verifier;
  /** Milliseconds for an answer; 0 is as long as the client waits. */
  readonly timeout: number;
  /** Whether clients are admitted while the verifier cannot be reached. */
  readonly failOpen: boolean;
  readonly cache: CacheTimes;
  readonly atOnce: number;
  readonly now: () => number;
  readonly log: (level: 'info' | 'warn', facts: object, text: string) => void;
}

export interface Asked {
  readonly signal: AbortSignal;
  /** Ask the verifier even if a cached answer still counts. */
  readonly anew: boolean;
  /**
   * Set for a client that is connected because this verifier admitted it: the milliseconds for which the verifier has
   * failed since.
   */
  readonly standing?: { readonly failedFor: number };
}

export type Verdict =
  | { readonly kind: 'allowed'; readonly how: 'asked' | 'cached' | 'grace' | 'fail open'; readonly failure?: string }
  | { readonly kind: 'denied' | 'failed'; readonly reason: string };

export class Desk {
  readonly name: string;
  readonly local: boolean;
  readonly counts: Record<Outcome, number> = { allowed: 0, denied: 0, error: 0, timeout: 0, cached: 0, kicked: 0 };
  /** A histogram of answer times over {@link TIME_BOUNDS}; the last count has slower answers. */
  readonly times = { counts: new Array<number>(TIME_BOUNDS.length + 1).fill(0), sum: 0 };
  lastError: { readonly text: string; readonly at: Date } | undefined;
  private failing = false;
  private saidAt = Number.NEGATIVE_INFINITY;
  private hasSaid = false;
  private readonly cache: AnswerCache;
  private readonly pending: PendingQuestions<Answer>;

  constructor(private readonly options: DeskOptions) {
    this.name = options.name;
    this.local = options.verifier.local ?? false;
    this.cache = new AnswerCache(options.cache);
    this.pending = new PendingQuestions(options.atOnce);
  }

  /** Goes on with the figures of the desk that it takes the place of. */
  continue(before: Desk | undefined): void {
    if (!before) return;
    Object.assign(this.counts, before.counts);
    this.times.counts = before.times.counts;
    this.times.sum = before.times.sum;
  }

  /** Its state in words: whether it answers, the questions in progress, and the last failure. */
  get state(): string {
    const { asking, waiting } = this.pending.counts;
    const busy = asking > 0 ? `, ${asking} questions under way, ${waiting} waiting` : '';
    const error = this.lastError && `; last error ${this.lastError.at.toISOString()}: ${this.lastError.text}`;
    return `${this.failing ? 'fails' : 'ok'}${busy}${error ?? ''}`;
  }

  /** What is wrong with the verifier, if it can tell; empty if nothing is. */
  async check(): Promise<string> {
    return (await this.options.verifier.check?.(AbortSignal.timeout(CHECK_TIMEOUT))) ?? '';
  }

  /** Asks about a client, from the cache if possible. Rejects only when the signal aborts. */
  async ask(question: Question, { signal, anew, standing }: Asked): Promise<Verdict> {
    const { verifier, now, failOpen, cache } = this.options;
    const name = verifier.bySource ? `${question.key}${question.address}` : question.key;
    const known = anew || this.local ? undefined : this.cache.fresh(name, now());
    if (known !== undefined) {
      this.counts.cached += 1;
      return known === true ? { kind: 'allowed', how: 'cached' } : { kind: 'denied', reason: known };
    }
    const answer = await this.pending.ask(name, signal, (whileWanted) => this.put(name, question, whileWanted));
    if (answer.kind === 'allowed') return { kind: 'allowed', how: 'asked' };
    if (answer.kind === 'denied') return answer;
    const { reason } = answer;
    if (answer.unreached && failOpen) return { kind: 'allowed', how: 'fail open', failure: reason };
    const inGrace = standing ? standing.failedFor < cache.grace : this.cache.inGrace(name, now());
    return inGrace ? { kind: 'allowed', how: 'grace', failure: reason } : { kind: 'failed', reason };
  }

  /** Forgets what the verifier has said, but for what holds while it fails. */
  outdate(): void {
    this.cache.outdate();
  }

  close(): void {
    this.options.verifier.close();
  }

  /** Asks the verifier, once for all clients with this question, and notes the answer. */
  private async put(name: string, question: Question, whileWanted: AbortSignal): Promise<Answer> {
    const { verifier, timeout, now } = this.options;
    const abort = new AbortController();
    const give = () => abort.abort();
    whileWanted.addEventListener('abort', give, { once: true });
    const timer = timeout > 0 ? setTimeout(give, timeout) : undefined;
    const before = performance.now();
    try {
      const answer = await verifier.ask(question, abort.signal);
      // No client waits for this answer, and the abort may have caused it, so it does not count.
      if (whileWanted.aborted) return answer;
      this.note(answer, (performance.now() - before) / 1000);
      if (answer.kind === 'allowed') this.cache.allow(name, now());
      else if (answer.kind === 'denied') this.cache.deny(name, answer.reason, now());
      return answer;
    } finally {
      clearTimeout(timer);
      whileWanted.removeEventListener('abort', give);
    }
  }

  private note(answer: Answer, seconds: number): void {
    const found = TIME_BOUNDS.findIndex((bound) => seconds <= bound);
    const slot = found < 0 ? TIME_BOUNDS.length : found;
    this.times.counts[slot] = (this.times.counts[slot] as number) + 1;
    this.times.sum += seconds;
    this.failing = answer.kind === 'failed';
    if (answer.kind === 'failed') {
      this.counts[answer.timeout ? 'timeout' : 'error'] += 1;
      this.lastError = { text: answer.reason, at: new Date() };
      this.sayFailure(answer.reason);
      return;
    }
    this.counts[answer.kind] += 1;
    if (!this.hasSaid) return;
    this.hasSaid = false;
    this.options.log('info', { verifier: this.name }, 'a verifier answers again');
  }

  /** Logs a failure, at a bounded rate; the figures count every one. */
  private sayFailure(reason: string): void {
    const now = performance.now();
    if (now - this.saidAt < SAY_AGAIN) return;
    this.saidAt = now;
    this.hasSaid = true;
    this.options.log('warn', { verifier: this.name, reason }, 'a verifier fails');
  }
}
