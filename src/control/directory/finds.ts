/** Questions to the directory: which are under way, which wait, and their answers. */
import type { NodeKey } from '../../protocol/key.js';
import { DirectoryError, type DirectoryTrouble, isLater, type Place } from './directory.js';

/** Milliseconds for an answer, and for later answers that are better. */
export const PATIENCE = 1_000;
/**
 * Questions under way at once, those that wait for their turn, and answered ones that may get a better answer. All that the
 * plane may ask for are under way at once: one that waited would wait for the slowest answers of others.
 */
export const MOST_FINDS = { asked: 8_192, waiting: 4_096, answered: 8_192 } as const;

export interface FindParts {
  /** Asks. The answer comes with the token. */
  ask(key: NodeKey, token: string): void;
  /** Whether no answer means that no relay has the key. */
  isComplete(): boolean;
  /** A better answer than the first. */
  onLater(key: NodeKey, place: Place): void;
}

interface Find {
  readonly key: NodeKey;
  readonly token: string;
  readonly promise: Promise<Place | undefined>;
  resolve(place: Place | undefined): void;
  reject(error: DirectoryError): void;
  timer: NodeJS.Timeout | undefined;
  state: 'waiting' | 'asked' | 'answered' | 'over';
  /** The best answer so far. */
  place: Place | undefined;
}

/** Why a question about a key has no answer. */
type FindTrouble = Exclude<DirectoryTrouble, 'silent' | 'absent' | 'malformed'>;

/** How often each outcome has been. */
export type FindCounts = Record<'found' | 'nowhere' | FindTrouble, number>;

export class Finds {
  readonly counts: FindCounts = { found: 0, nowhere: 0, late: 0, syncing: 0, crowded: 0, down: 0 };
  /** Those without an answer, by key; and those under way or answered, by token. */
  private readonly open = new Map<NodeKey, Find>();
  private readonly asked = new Map<string, Find>();
  private readonly answered = new Map<string, Find>();
  private readonly waiting = new Set<Find>();
  private last = 0;

  constructor(
    private readonly parts: FindParts,
    private readonly most: Readonly<Record<keyof typeof MOST_FINDS, number>> = MOST_FINDS,
  ) {}

  /** Questions without an answer, those that wait included. */
  get size(): number {
    return this.open.size;
  }

  /** Questions for a key that is asked for already are one question. */
  find(key: NodeKey): Promise<Place | undefined> {
    const known = this.open.get(key);
    if (known) return known.promise;
    const hasTurn = this.asked.size < this.most.asked;
    if (!hasTurn && this.waiting.size >= this.most.waiting) return this.refuse('crowded');
    const find = this.begin(key);
    if (hasTurn) this.ask(find);
    else this.waiting.add(find);
    return find.promise;
  }

  /** An answer that no code waits for any more is dropped. */
  answer(token: string, place: Place): void {
    const find = this.asked.get(token) ?? this.answered.get(token);
    if (!find || (find.place && !isLater(place, find.place))) return;
    const isFirst = find.place === undefined;
    find.place = place;
    if (!isFirst) {
      this.parts.onLater(find.key, place);
      return;
    }
    this.counts.found += 1;
    find.state = 'answered';
    this.open.delete(find.key);
    this.asked.delete(token);
    this.answered.set(token, find);
    if (this.answered.size > this.most.answered) this.end(this.answered.values().next().value as Find);
    find.resolve(place);
    this.fill();
  }

  /** No relay listens for the key. */
  nowhere(token: string): void {
    const find = this.asked.get(token);
    if (!find) return;
    if (!this.parts.isComplete()) {
      this.fail(find, 'syncing');
      return;
    }
    this.counts.nowhere += 1;
    this.end(find);
    find.resolve(undefined);
    this.fill();
  }

  /** Ends all questions: the connection has ended. */
  stop(): void {
    // The waiting ones first, so that none of them gets a turn.
    for (const find of [...this.waiting, ...this.asked.values()]) this.fail(find, 'down');
    for (const find of this.answered.values()) this.end(find);
  }

  refuse(trouble: FindTrouble): Promise<never> {
    this.counts[trouble] += 1;
    return Promise.reject(new DirectoryError(trouble));
  }

  private begin(key: NodeKey): Find {
    let resolve: Find['resolve'] = () => {};
    let reject: Find['reject'] = () => {};
    const promise = new Promise<Place | undefined>((yes, no) => {
      resolve = yes;
      reject = no;
    });
    this.last += 1;
    const token = this.last.toString(36);
    const find: Find = { key, token, promise, resolve, reject, timer: undefined, state: 'waiting', place: undefined };
    find.timer = setTimeout(() => this.onTime(find), PATIENCE).unref();
    this.open.set(key, find);
    return find;
  }

  private ask(find: Find): void {
    find.state = 'asked';
    this.asked.set(find.token, find);
    this.parts.ask(find.key, find.token);
  }

  private onTime(find: Find): void {
    if (find.state === 'answered') this.end(find);
    else this.fail(find, 'late');
  }

  private fail(find: Find, trouble: FindTrouble): void {
    this.counts[trouble] += 1;
    this.end(find);
    find.reject(new DirectoryError(trouble));
    this.fill();
  }

  private end(find: Find): void {
    clearTimeout(find.timer);
    if (find.state === 'waiting' || find.state === 'asked') this.open.delete(find.key);
    find.state = 'over';
    this.waiting.delete(find);
    this.asked.delete(find.token);
    this.answered.delete(find.token);
  }

  private fill(): void {
    for (const find of this.waiting) {
      if (this.asked.size >= this.most.asked) return;
      this.waiting.delete(find);
      this.ask(find);
    }
  }
}
