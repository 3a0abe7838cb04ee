/** Parts of a plane for tests of its parts: a policy, a context, connections and streams that do only what is asked. */
import { Writable } from 'node:stream';
import { parseSettings } from '../../../src/config.js';
import { WritableCounters } from '../../../src/plane/counters.js';
import { makeBudgets } from '../../../src/plane/js/budgets.js';
import type { Connection, ConnectionContext } from '../../../src/plane/js/connection.js';
import { EventQueue } from '../../../src/plane/js/events.js';
import { Failures } from '../../../src/plane/js/failures.js';
import { Links } from '../../../src/plane/js/links.js';
import { Lookups } from '../../../src/plane/js/lookups.js';
import { QueueTime } from '../../../src/plane/js/queue-time.js';
import { Room } from '../../../src/plane/js/room.js';
import { Table } from '../../../src/plane/js/table.js';
import { Wheel } from '../../../src/plane/js/wheel.js';
import type { PlaneEvents, PlanePolicy } from '../../../src/plane/plane.js';
import { Strangers } from '../../../src/plane/strangers.js';
import { generateKeyPair, type NodeKey, readNodeKey } from '../../../src/protocol/key.js';
import { planePolicy } from '../../../src/relay/policy.js';

export interface PolicyChanges {
  readonly queueDepth?: number;
  readonly linkQueueDepth?: number;
  readonly limits?: Partial<PlanePolicy['limits']>;
  readonly deadlines?: Partial<PlanePolicy['deadlines']>;
  readonly tcp?: Partial<PlanePolicy['tcp']>;
  readonly notHere?: PlanePolicy['notHere'];
}

/** The policy of a relay with default settings, but for the changes. */
export function policyWith({ limits, deadlines, tcp, ...rest }: PolicyChanges = {}): PlanePolicy {
  const usual = planePolicy(parseSettings({}));
  return {
    ...usual,
    ...rest,
    limits: { ...usual.limits, ...limits },
    deadlines: { ...usual.deadlines, ...deadlines },
    tcp: { ...usual.tcp, ...tcp },
  };
}

/** Every event as a line: its name and its plain arguments. */
export function eventLog(): { readonly log: string[]; readonly events: PlaneEvents } {
  const log: string[] = [];
  const events = new Proxy({} as PlaneEvents, {
    get:
      (_target, name) =>
      (...args: unknown[]) =>
        void log.push([String(name), ...args].join(' ')),
  });
  return { log, events };
}

export function contextWith(changes: PolicyChanges = {}): { context: ConnectionContext; log: string[] } {
  const { log, events } = eventLog();
  const queue = new EventQueue(events);
  const wheel = new Wheel(50, queue.barrier);
  // Nothing is armed unless a test does.
  wheel.stop();
  const counters = new WritableCounters();
  const context: ConnectionContext = {
    policy: policyWith(changes),
    keys: generateKeyPair(),
    counters,
    queueTime: new QueueTime(counters),
    events: queue,
    failures: new Failures(counters, queue, () => context.policy),
    barrier: queue.barrier,
    table: new Table(queue),
    lookups: new Lookups(
      counters,
      () => context.policy,
      (key) => context.table.lookup(key) !== undefined,
    ),
    wheel,
    links: new Links(),
    parked: new Map(),
    connections: new Map(),
    leaving: new Set(),
    room: new Room(),
    strangers: new Strangers({ limits: () => context.policy.limits, evicted: () => {}, refused: () => {} }),
    loginBytes: 0,
    budgets: makeBudgets(counters, () => context.policy.limits),
  };
  return { context, log };
}

/** Something with an id, for tables that look at nothing else. */
export function connectionOf(id: number): Connection {
  return { id } as Connection;
}

/** A key that is told apart by one number. */
export function keyOf(number: number): NodeKey {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32BE(number + 1, 28);
  return readNodeKey(bytes);
}

/** A transport that takes what is written only when told to. */
export class GatedStream extends Writable {
  /** What the stream was given, in order, taken or not. */
  readonly given: Buffer[] = [];
  private readonly waiting: (() => void)[] = [];
  private opened = false;

  constructor() {
    // As a socket: no buffer of its own beyond what is being written.
    super({ highWaterMark: 1 });
  }

  /** Takes everything from now on. */
  open(): this {
    this.opened = true;
    this.take(Number.POSITIVE_INFINITY);
    return this;
  }

  /** Takes this many chunks of those that wait. */
  take(chunks: number): void {
    for (let taken = 0; taken < chunks; taken++) {
      const next = this.waiting.shift();
      if (!next) return;
      next();
    }
  }

  get bytes(): Buffer {
    return Buffer.concat(this.given);
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.given.push(chunk);
    if (this.opened) done();
    else this.waiting.push(done);
  }
}

/** Lets everything that was put off to the end of this turn, and what follows from it, happen. */
export async function settled(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => process.nextTick(resolve));
}
