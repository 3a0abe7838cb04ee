import type { NodeKey } from '../../protocol/key.js';
import type { WritableCounters } from '../counters.js';
import { ShareNames } from '../networks.js';
import type { ConnectionId, PlaneLookups, PlanePolicy } from '../plane.js';
import { Misses } from './misses.js';
import { Shares } from './shares.js';
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
  /** In whose share it counts; see {@link Lookups.askerOf}. */
  readonly asker: string;
  /** The receiver is at another relay, or here by now: the packet goes there, or is dropped. */
  found(): void;
  /** Drops the packet. Its sender is told that the receiver is not here if `isNowhere`. */
  missing(isNowhere: boolean): void;
}

/** A key that is asked for: the packets that wait for it, in the order in which they came, and how many of each kind. */
interface Lookup {
  readonly key: NodeKey;
  /** In whose share it counts. `undefined` once it has made room: the answer is still to come, and nothing waits for it. */
  asker: string | undefined;
  strays: WaitingStray[];
  disco: number;
  other: number;
}

/** Why a packet does not wait: its address has all that one may have, or all addresses together do. */
export type Refusal = 'share' | 'crowded';

/** Memory of a waiting packet beside its bytes. */
const OVERHEAD = 128;

/**
 * The keys that the plane has asked the control plane for, with the packets that wait for the answers, and the keys that
 * are nowhere. `PlaneLookups` in `../policy.ts` has the rules.
 */
export class Lookups {
  readonly misses = new Misses();
  private readonly asked = new Map<NodeKey, Lookup>();
  private readonly keys = new Shares<Lookup>();
  private readonly memory = new Shares<WaitingStray>();
  private readonly names = new ShareNames();

  constructor(
    private readonly counters: WritableCounters,
    private readonly policy: () => PlanePolicy,
    private readonly isHere: (key: NodeKey) => boolean,
  ) {}

  /** How many keys are asked for. */
  get size(): number {
    return this.keys.total;
  }

  /** Memory that waiting packets take. */
  get bytes(): number {
    return this.memory.total;
  }

  /** In whose share a connection's lookups count: its address's, or its own if that is exempt or unknown. */
  askerOf(address: string, id: ConnectionId): string {
    return this.names.of(address, this.policy().limits.exempt) || `connection ${id}`;
  }

  /** Whether packets to the key wait. */
  isAsked(key: NodeKey): boolean {
    return this.asked.get(key)?.asker !== undefined;
  }

  /** Whether the answer for a key is still to come. */
  isOpen(key: NodeKey): boolean {
    return this.asked.has(key);
  }

  /** Why one more key cannot be asked for. */
  refuses(asker: string, limits: PlaneLookups): Refusal | undefined {
    const held = this.keys.held(asker);
    if (held >= limits.keysPerAddress) return 'share';
    if (this.size < limits.keys) return undefined;
    // Lookups that have made room are still answered: so many of them may be under way.
    const mayMakeRoom = this.asked.size - this.size < limits.keys && this.keys.oldest(held + 1);
    return mayMakeRoom ? undefined : 'crowded';
  }

  /** Asks for a key, unless `refuses` says why not. Another one makes room if it has to. */
  ask(key: NodeKey, asker: string, limits: PlaneLookups): void {
    if (this.size >= limits.keys) this.evictLookup();
    const lookup = this.asked.get(key) ?? { key, asker, strays: [], disco: 0, other: 0 };
    this.asked.set(key, lookup);
    this.own(lookup, asker);
  }

  /** Makes room for one more packet, or says why it cannot wait. */
  makeRoom({ packet }: Pick<Stray, 'packet'>, asker: string, limits: PlaneLookups): Refusal | undefined {
    const [cost, held] = [memoryOf({ packet }), this.memory.held(asker)];
    if (held + cost > limits.bytesPerAddress) return 'share';
    while (this.bytes + cost > limits.bytes) {
      const oldest = this.memory.oldest(held + cost);
      if (!oldest) return 'crowded';
      this.counters.add('lookups:evicted');
      this.remove(this.asked.get(oldest.destination), oldest);
      oldest.missing(!this.isHere(oldest.destination));
    }
    return undefined;
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
    this.memory.add(stray.asker, stray, memoryOf(stray));
    if (waiting[kind] <= depth) return undefined;
    const oldest = waiting.strays.find(({ disco }) => disco === stray.disco) as WaitingStray;
    this.remove(waiting, oldest);
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

  /** The oldest key of the address that asks for the most makes room. Its answer is still to come. */
  private evictLookup(): void {
    for (let lookup = this.keys.oldest(0); lookup; lookup = this.keys.oldest(0)) {
      const heir = this.heirOf(lookup);
      this.disown(lookup);
      if (heir === undefined) {
        this.counters.add('lookups:evicted');
        const isNowhere = !this.isHere(lookup.key);
        for (const stray of this.release(lookup)) stray.missing(isNowhere);
        return;
      }
      this.own(lookup, heir);
    }
  }

  /** Another address whose packet waits for the key, and which asks for fewer: the lookup is its own from then on. */
  private heirOf({ asker = '', strays }: Lookup): string | undefined {
    const most = this.keys.held(asker) - 1;
    return strays.find((stray) => stray.asker !== asker && this.keys.held(stray.asker) < most)?.asker;
  }

  private own(lookup: Lookup, asker: string): void {
    lookup.asker = asker;
    this.keys.add(asker, lookup, 1);
  }

  private disown(lookup: Lookup): void {
    if (lookup.asker !== undefined) this.keys.remove(lookup.asker, lookup, 1);
    lookup.asker = undefined;
  }

  private remove(lookup: Lookup | undefined, stray: WaitingStray): void {
    const at = lookup?.strays.indexOf(stray) ?? -1;
    if (!lookup || at < 0) return;
    lookup.strays.splice(at, 1);
    lookup[stray.disco ? 'disco' : 'other'] -= 1;
    this.memory.remove(stray.asker, stray, memoryOf(stray));
  }

  private take(key: NodeKey): readonly WaitingStray[] {
    const lookup = this.asked.get(key);
    if (!lookup) return [];
    this.asked.delete(key);
    this.disown(lookup);
    return this.release(lookup);
  }

  /** The packets that have waited. */
  private release(lookup: Lookup): readonly WaitingStray[] {
    const { strays } = lookup;
    Object.assign(lookup, { strays: [], disco: 0, other: 0 });
    for (const stray of strays) this.memory.remove(stray.asker, stray, memoryOf(stray));
    return strays;
  }
}

function memoryOf({ packet }: Pick<Stray, 'packet'>): number {
  return packet.length + OVERHEAD;
}
