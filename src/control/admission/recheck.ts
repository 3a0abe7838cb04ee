/** Asks again about clients that are connected, and closes those that are not allowed any more. */
import type { ReceiveRate } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import { Rounds } from './rounds.js';

/** How many are asked about at once: few, so that logins have the verifiers for themselves. */
const AT_ONCE = 16;

/** A client that was let in, and what is to be known to ask about it again. */
export interface Standing<Who> {
  readonly id: number;
  readonly key: NodeKey;
  readonly who: Who;
  /** Which verifiers have let it in; a bit each, by their places. */
  letInBy: number;
  /** Since when verifiers have failed that were asked about it again; 0 if they have not. */
  failingSince: number;
  /** What it may send, if that is limited for it alone. */
  receiveLimit: ReceiveRate | null;
}

export interface RecheckOptions<Who> {
  /** Milliseconds; 0 to ask only about those that `recheck` names. */
  readonly interval: number;
  /** Asks about one. Rejects when the signal aborts. */
  readonly ask: (client: Standing<Who>, signal: AbortSignal) => Promise<void>;
  readonly random?: () => number;
}

export class Recheck<Who> {
  private readonly clients = new Map<number, Standing<Who>>();
  private readonly byKey = new Map<NodeKey, Set<Standing<Who>>>();
  private readonly rounds: Rounds<Standing<Who>> | undefined;
  /** Those that wait to be asked about, each once. */
  private readonly queue = new Set<Standing<Who>>();
  private readonly asking = new Map<Standing<Who>, AbortController>();
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(private readonly options: RecheckOptions<Who>) {
    const { interval, random = Math.random } = options;
    if (interval > 0) this.rounds = new Rounds(interval, random);
  }

  start(): void {
    if (!this.rounds) return;
    const { rounds } = this;
    // An answer that is on its way is as good as the next one.
    const others = () => rounds.next().filter((client) => !this.asking.has(client));
    this.timer = setInterval(() => this.enqueue(others()), rounds.tick).unref();
  }

  /** What is known of a client that was added. */
  get(id: number): Standing<Who> | undefined {
    return this.clients.get(id);
  }

  add(client: Standing<Who>): void {
    if (this.closed) return;
    this.clients.set(client.id, client);
    const same = this.byKey.get(client.key) ?? new Set();
    this.byKey.set(client.key, same.add(client));
    this.rounds?.add(client);
  }

  remove(id: number): void {
    const client = this.clients.get(id);
    if (!client) return;
    this.clients.delete(id);
    const same = this.byKey.get(client.key);
    same?.delete(client);
    if (same?.size === 0) this.byKey.delete(client.key);
    this.rounds?.remove(client);
    this.queue.delete(client);
    this.asking.get(client)?.abort();
  }

  /** Asks about every connection of these keys now, before those whose turn has come. */
  now(keys: Iterable<NodeKey>): void {
    if (this.closed) return;
    const first = [...keys].flatMap((key) => [...(this.byKey.get(key) ?? [])]);
    const others = [...this.queue];
    this.queue.clear();
    this.enqueue(first);
    this.enqueue(others);
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    this.queue.clear();
    for (const abort of this.asking.values()) abort.abort();
  }

  private enqueue(clients: Iterable<Standing<Who>>): void {
    for (const client of clients) this.queue.add(client);
    this.pump();
  }

  private pump(): void {
    for (const client of this.queue) {
      if (this.asking.size >= AT_ONCE) return;
      this.queue.delete(client);
      void this.ask(client);
    }
  }

  private async ask(client: Standing<Who>): Promise<void> {
    // A list has changed since.
    this.asking.get(client)?.abort();
    const abort = new AbortController();
    this.asking.set(client, abort);
    try {
      await this.options.ask(client, abort.signal);
    } catch {
      // It has gone meanwhile.
    } finally {
      if (this.asking.get(client) === abort) this.asking.delete(client);
      this.pump();
    }
  }
}
