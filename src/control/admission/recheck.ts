/** Asks again about connected clients, and closes those that are no longer admitted. */
import type { ReceiveRate } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import type { Desk } from './desk.js';
import { Rounds } from './rounds.js';

/** Concurrent questions: few, so that logins come first. */
const AT_ONCE = 16;

/** A connected client, with the facts that a recheck needs. */
export interface Standing<Who> {
  readonly id: number;
  readonly key: NodeKey;
  readonly who: Who;
  /** The verifiers that admitted it; after new rules, one of the same name goes on for each. */
  letInBy: readonly Desk[];
  /** When the verifiers began to fail in rechecks of it; 0 while they answer. */
  failingSince: number;
  /** What it may send, if that is limited for it alone. */
  receiveLimit: ReceiveRate | null;
}

export interface RecheckOptions<Who> {
  /** Milliseconds; 0 to recheck only the keys passed to `now`. */
  readonly interval: number;
  /** Rechecks one client. Rejects when the signal aborts. */
  readonly ask: (client: Standing<Who>, signal: AbortSignal) => Promise<void>;
  readonly random?: () => number;
}

export class Recheck<Who> {
  private readonly clients = new Map<number, Standing<Who>>();
  private readonly byKey = new Map<NodeKey, Set<Standing<Who>>>();
  private readonly rounds: Rounds<Standing<Who>> | undefined;
  /** Clients that wait for a recheck, each once. */
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
    // A recheck in progress counts as this one.
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
    const same = this.byKey.get(client.key) as Set<Standing<Who>>;
    same.delete(client);
    if (same.size === 0) this.byKey.delete(client.key);
    this.rounds?.remove(client);
    this.queue.delete(client);
    this.asking.get(client)?.abort();
  }

  /** Rechecks every connection of these keys now, before those in the queue. */
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
    // A list has changed since the question in progress was asked.
    this.asking.get(client)?.abort();
    const abort = new AbortController();
    this.asking.set(client, abort);
    try {
      await this.options.ask(client, abort.signal);
    } catch {
      // The client has left meanwhile.
    } finally {
      if (this.asking.get(client) === abort) this.asking.delete(client);
      this.pump();
    }
  }
}
