import { peerGoneFrame } from '../../protocol/frame.js';
import type { NodeKey } from '../../protocol/key.js';
import { PeerGoneReason } from '../../protocol/wire.js';
import type { CounterName, DropReason } from '../counters.js';
import type { LinkId, PlaneLookups } from '../plane.js';
import type { Client, ForwardingContext } from './client.js';
import type { Stray, WaitingStray } from './lookups.js';
import { ownBytes } from './own-bytes.js';
import { TokenBucket } from './token-bucket.js';
import { Wheel } from './wheel.js';

/** The packets of one client that have no receiver here: they wait until their receiver is found, leave over a link, or are dropped. */
export class Strays {
  private notHere: TokenBucket | undefined;
  private asking: TokenBucket | undefined;
  /** In whose share its lookups count, while these networks are exempt. */
  private asker: { readonly name: string; readonly exempt: readonly string[] } | undefined;

  constructor(
    private readonly client: Client,
    private readonly key: NodeKey,
    private readonly context: ForwardingContext,
  ) {}

  /** A packet of the client to a key without a connection and a route. */
  unknown(stray: Stray): void {
    const { lookups } = this.context.policy;
    if (!lookups || !this.isAskedFor(stray.destination, lookups)) {
      this.dropUnknown(stray, 'unknown_dest', stray.disco);
      return;
    }
    const refusal = this.context.lookups.makeRoom(stray, this.askerName, lookups);
    if (refusal) {
      this.count(`lookups:${refusal}`);
      this.dropUnknown(stray, 'unknown_dest', stray.disco);
    } else this.wait(stray);
  }

  /** A packet of another relay's client, to a key that has no connection here. */
  forwarded(stray: Stray): void {
    // With lookups, the other relay asks for every kind of packet, and only this frame ends its route.
    this.dropUnknown(stray, 'unknown_dest_on_fwd', stray.disco || this.context.policy.lookups !== null);
  }

  /** A packet of the client whose receiver is at another relay. */
  forward(destination: NodeKey, disco: boolean, packet: Buffer, via: LinkId): void {
    const { counters, links, tap } = this.context;
    counters.add('packets_forwarded_out');
    const link = links.open(via);
    if (!link) {
      this.drop({ source: this.key, destination, disco, packet }, 'mesh_down');
      return;
    }
    tap?.record(this.key, destination, disco ? 'disco' : 'other', packet);
    link.forward(this.key, destination, packet, disco);
  }

  /** Whether the control plane is asked for the key, since now if it may be. */
  private isAskedFor(key: NodeKey, limits: PlaneLookups): boolean {
    const { lookups, events } = this.context;
    const now = Wheel.now();
    if (lookups.misses.has(key, now, limits.missTime)) return this.count('lookups:missed');
    if (lookups.isAsked(key)) return true;
    const refusal = lookups.refuses(this.askerName, limits);
    if (refusal) return this.count(`lookups:${refusal}`);
    const isOpen = lookups.isOpen(key);
    if (!isOpen) {
      this.asking ??= new TokenBucket(limits.perSecond, limits.burst, now);
      if (!this.asking.take(1, now)) return this.count('lookups:limited');
      this.count('lookups:asked');
    }
    lookups.ask(key, this.askerName, limits);
    if (isOpen) return true;
    events.raise(
      (to) => to.lookup(key),
      () => lookups.missing(key),
    );
    return true;
  }

  private get askerName(): string {
    const { exempt } = this.context.policy.limits;
    const { client, context } = this;
    if (this.asker?.exempt !== exempt)
      this.asker = { name: context.lookups.askerOf(client.address, client.id), exempt };
    return this.asker.name;
  }

  private wait(stray: Stray): void {
    const isOwed = stray.disco && this.takesNotHere();
    const guard = (act: () => void) => this.context.barrier.run('a waiting packet', act, () => this.client.fail());
    const waiting: WaitingStray = {
      ...stray,
      asker: this.askerName,
      packet: ownBytes(stray.packet),
      found: () => guard(() => this.found(waiting)),
      missing: (isNowhere) => guard(() => this.missing(waiting, isNowhere && isOwed)),
    };
    const { queueDepth } = this.context.policy;
    const evicted = this.context.lookups.push(waiting, queueDepth);
    if (evicted) this.drop(evicted, queueDepth > 0 ? 'queue_head' : 'queue_tail');
  }

  private found(stray: Stray): void {
    const { table, links } = this.context;
    const via = table.lookup(stray.destination) ? undefined : links.via(stray.destination);
    if (via === undefined) this.drop(stray, 'unknown_dest');
    else this.forward(stray.destination, stray.disco, stray.packet, via);
  }

  private missing(stray: Stray, isOwed: boolean): void {
    this.drop(stray, 'unknown_dest');
    if (isOwed) this.tellNotHere(stray.destination);
  }

  private dropUnknown(stray: Stray, reason: DropReason, tell: boolean): void {
    this.drop(stray, reason);
    if (tell && this.takesNotHere()) this.tellNotHere(stray.destination);
  }

  private drop({ source, destination, disco, packet }: Stray, reason: DropReason): void {
    const { tap, counters, events, policy } = this.context;
    const kind = disco ? 'disco' : 'other';
    tap?.record(source, destination, kind, packet, reason);
    counters.dropped(reason, kind, packet.length);
    if (policy.watchedDrops.includes(destination)) events.dropped(source, destination, reason);
  }

  private takesNotHere(): boolean {
    const now = Wheel.now();
    const { perSecond, burst } = this.context.policy.notHere;
    this.notHere ??= new TokenBucket(perSecond, burst, now);
    return this.notHere.take(1, now);
  }

  /** Does nothing once the client has left. */
  private tellNotHere(key: NodeKey): void {
    this.client.egress.frames(peerGoneFrame(key, PeerGoneReason.NotHere));
  }

  /** Returns false, for the packet that is counted does not wait. */
  private count(name: CounterName): false {
    this.context.counters.add(name);
    return false;
  }
}
