/** The answers of a verifier, and how long each one counts. Pure: `now` is in milliseconds on any clock. */

export interface CacheTimes {
  /** Milliseconds for which an answer counts; 0 is not at all. */
  readonly allow: number;
  readonly deny: number;
  /** Milliseconds for which an admitted client stays admitted while its verifier fails, from the first failure on. */
  readonly grace: number;
}

/** Most entries of each kind. Unknown clients can cause only refusals, so they never evict an admission. */
const MOST_ALLOWED = 65_536;
const MOST_DENIED = 4096;

interface Allowed {
  at: number;
  /** When the verifier first failed since then; 0 if it did not. */
  failedAt: number;
  /** Set if the answer no longer admits a client without a new question. */
  isOutdated: boolean;
}

interface Denied {
  readonly at: number;
  readonly reason: string;
}

export class AnswerCache {
  private readonly allowed = new Map<string, Allowed>();
  private readonly denied = new Map<string, Denied>();

  constructor(private readonly times: CacheTimes) {}

  /** An answer that still counts: `true`, the reason of a refusal, or `undefined` if there is none. */
  fresh(question: string, now: number): true | string | undefined {
    const allowed = this.allowed.get(question);
    if (allowed && !allowed.isOutdated && allowed.failedAt === 0 && now - allowed.at < this.times.allow) return true;
    const denied = this.denied.get(question);
    return denied && now - denied.at < this.times.deny ? denied.reason : undefined;
  }

  /** Whether the last admission still counts, although the verifier fails now. */
  inGrace(question: string, now: number): boolean {
    const allowed = this.allowed.get(question);
    if (!allowed) return false;
    if (allowed.failedAt === 0) {
      // The verifier was not asked for so long that the old answer no longer counts.
      if (now - allowed.at > this.times.allow + this.times.grace) return false;
      allowed.failedAt = now;
    }
    return now - allowed.failedAt < this.times.grace;
  }

  allow(question: string, now: number): void {
    this.denied.delete(question);
    if (this.times.allow === 0 && this.times.grace === 0) return;
    remember(this.allowed, question, { at: now, failedAt: 0, isOutdated: false }, MOST_ALLOWED);
  }

  deny(question: string, reason: string, now: number): void {
    this.allowed.delete(question);
    if (this.times.deny > 0) remember(this.denied, question, { at: now, reason }, MOST_DENIED);
  }

  /** Every client is asked about anew. What was allowed last still counts while a verifier fails. */
  outdate(): void {
    this.denied.clear();
    for (const allowed of this.allowed.values()) allowed.isOutdated = true;
  }
}

/** Adds an entry as the most recently used one, and evicts the least recently used ones. */
function remember<T>(entries: Map<string, T>, name: string, entry: T, most: number): void {
  entries.delete(name);
  entries.set(name, entry);
  if (entries.size > most) entries.delete(entries.keys().next().value as string);
}
