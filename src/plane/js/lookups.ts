import type { NodeKey } from '../../protocol/key.js';
import type { WritableCounters } from '../counters.js';
import type { PlanePolicy } from '../plane.js';
import { Misses } from './misses.js';
import { Wheel } from './wheel.js';

/** A packet without a known receiver. */
export interface Stray {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  readonly disco: boolean;
  readonly packet: Buffer;
}

/** A packet that waits until the control plane has said where its receiver is. */
export interface WaitingStray extends Stray {
  /** The receiver is at another relay, or here by now: the packet goes there, or is dropped. */
  found(): void;
  /** Drops the packet. Its sender is told that the receiver is not here if `isNowhere`. */
  missing(isNowhere: boolean): void;
}

/** The packets that wait for one key, in the order in which they came, and how many there are of each kind. */
interface Waiting {
  readonly strays: WaitingStray[];
  disco: number;
  other: number;
}

/** Memory of a waiting packet beside its bytes. */
const OVERHEAD = 128;

/**
 * The keys that the plane has asked the control plane for, with the packets that wait for the answers, and the keys that
 * are nowhere. `PlaneLookups` in `../policy.ts` has the rules.
 */
export class Lookups {
  readonly misses = new Misses();
  private readonly asked = new Map<NodeKey, Waiting>();
  private held = 0;

  constructor(
    private readonly counters: WritableCounters,
    private readonly policy: () => PlanePolicy,
    private readonly isHere: (key: NodeKey) => boolean,
  ) {}

  /** How many keys are asked for. */
  get size(): number {
    return this.asked.size;
  }

  /** Memory that waiting packets take. */
  get bytes(): number {
    return this.held;
  }

  isAsked(key: NodeKey): boolean {
    return this.asked.has(key);
  }

  ask(key: NodeKey): void {
    this.asked.set(key, { strays: [], disco: 0, other: 0 });
  }

  /** Whether there is memory for one more packet. */
  hasRoom({ packet }: Stray, most: number): boolean {
    return this.held + packet.length + OVERHEAD <= most;
  }

  /**
   * Appends a packet to those of its key, which is asked for. Returns the packet that had to go: the oldest of its kind, or,
   * at depth 0, the new one itself.
   */
  push(stray: WaitingStray, depth: number): WaitingStray | undefined {
    const waiting = this.asked.get(stray.destination);
    if (!waiting) return stray;
    const kind = stray.disco ? 'disco' : 'other';
    waiting.strays.push(stray);
    waiting[kind] += 1;
    this.held += memoryOf(stray);
    if (waiting[kind] <= depth) return undefined;
    const at = waiting.strays.findIndex(({ disco }) => disco === stray.disco);
    const [oldest] = waiting.strays.splice(at, 1) as [WaitingStray];
    waiting[kind] -= 1;
    this.held -= memoryOf(oldest);
    return oldest;
  }

  /** There is a route to the key now. */
  found(key: NodeKey): void {
    this.misses.delete(key);
    for (const stray of this.take(key)) stray.found();
  }

  /** The key is nowhere, unless it has a connection here by now. */
  missing(key: NodeKey): void {
    const limits = this.policy().lookups;
    if (!limits) return;
    if (!this.isHere(key)) this.misses.add(key, Wheel.now(), limits);
    this.answer(key);
  }

  /** There are no more lookups: all keys that are asked for count as nowhere. */
  stop(): void {
    for (const key of [...this.asked.keys()]) this.answer(key);
    this.misses.clear();
  }

  /** The plane ends: what waits is dropped. */
  close(): void {
    for (const key of [...this.asked.keys()]) for (const stray of this.take(key)) stray.missing(false);
  }

  private answer(key: NodeKey): void {
    const isNowhere = !this.isHere(key);
    if (isNowhere) this.counters.add('lookups:missing');
    for (const stray of this.take(key)) stray.missing(isNowhere);
  }

  private take(key: NodeKey): readonly WaitingStray[] {
    const { strays = [] } = this.asked.get(key) ?? {};
    this.asked.delete(key);
    for (const stray of strays) this.held -= memoryOf(stray);
    return strays;
  }
}

function memoryOf({ packet }: Stray): number {
  return packet.length + OVERHEAD;
}
