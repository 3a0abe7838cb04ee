/**
 * Strangers: connections before their admission. Each stranger is in one pool, and counts in the share of its address.
 *
 * In a full pool, the oldest stranger makes room for a new one. In a full share, the oldest stranger of that address
 * does, once it has had {@link LEAST}: if one address opens many connections at once, the first ones succeed. Every
 * operation takes constant time. `crates/derp-net/src/state/strangers` does the same for the native plane.
 */
import { ShareNames } from './networks.js';
import type { PeerAddress } from './plane.js';

/** Milliseconds that a stranger has before another connection of its address can replace it. */
const LEAST = 1000;
/** In a pool that is more than half full, deadlines of strangers are divided by this. */
const HURRY = 4;

/** What is full: the share of an address, or the pool. */
export type Full = 'address' | 'pool';

/** The limits, read at each new connection. */
export interface StrangerLimits {
  /** Connections of one address; see `PlaneLimits.perAddress`. */
  readonly perAddress: number;
  /** Networks whose addresses have no limit. */
  readonly exempt: readonly string[];
}

export interface StrangersOwner {
  limits(): StrangerLimits;
  /** A connection has made room for one of this peer. */
  evicted(why: Full, peer: PeerAddress): void;
  /** No connection could make room for one of this peer. */
  refused(why: Full, peer: PeerAddress): void;
}

/** The strangers of one kind at one listener. */
export class Pool {
  /** @internal */
  readonly row = new Row();

  /** `limit` is called at each new connection. */
  constructor(readonly limit: () => number) {}

  get count(): number {
    return this.row.count;
  }

  get isFull(): boolean {
    return this.count >= this.limit();
  }

  /** The deadline of a stranger in this pool: `whole`, or less if the pool is more than half full. */
  patience(whole: number): number {
    return this.count > this.limit() / 2 ? whole / HURRY : whole;
  }
}

export class Strangers {
  private readonly shares = new Map<string, Row>();
  private readonly names = new ShareNames();

  constructor(private readonly owner: StrangersOwner) {}

  /** Whether a new connection fits without ending another. */
  hasRoom(pool: Pool, address: string): boolean {
    const { perAddress } = this.owner.limits();
    return !pool.isFull && (this.shares.get(this.shareOf(address))?.count ?? 0) < perAddress;
  }

  /**
   * Enters a new connection, and ends another one if it has to make room. `end` ends this one when its turn comes.
   * `undefined` if none can make room.
   */
  enter(pool: Pool, peer: PeerAddress, end: () => void, now: number): Stranger | undefined {
    const { perAddress } = this.owner.limits();
    const share = this.shareOf(peer.address);
    const row = this.shares.get(share);
    let ofShare: Stranger | undefined;
    if (share !== '' && (row?.count ?? 0) >= perAddress) {
      ofShare = row?.first;
      if (!ofShare || now - ofShare.since < LEAST) return this.refuse('address', peer);
    }
    let ofPool: Stranger | undefined;
    if (pool.count - (ofShare?.pool === pool ? 1 : 0) >= pool.limit()) {
      ofPool = pool.row.first;
      if (!ofPool || pool.limit() === 0) return this.refuse('pool', peer);
    }
    if (ofShare) this.evict(ofShare, 'address', peer);
    if (ofPool && ofPool !== ofShare) this.evict(ofPool, 'pool', peer);
    return new Stranger(this, pool, { peer, share }, end, now);
  }

  /** @internal */
  makeRoom(pool: Pool, peer: PeerAddress): boolean {
    if (!pool.isFull) return true;
    const { first } = pool.row;
    if (first && pool.limit() > 0) {
      this.evict(first, 'pool', peer);
      return true;
    }
    this.refuse('pool', peer);
    return false;
  }

  /** @internal */
  share(name: string): Row | undefined {
    if (name === '') return undefined;
    const row = this.shares.get(name) ?? new Row();
    this.shares.set(name, row);
    return row;
  }

  /** @internal */
  forget(name: string): void {
    this.shares.delete(name);
  }

  /** The name of an address's share; empty for an exempt or unknown address. */
  private shareOf(address: string): string {
    return this.names.of(address, this.owner.limits().exempt);
  }

  private refuse(why: Full, peer: PeerAddress): undefined {
    this.owner.refused(why, peer);
  }

  private evict(stranger: Stranger, why: Full, peer: PeerAddress): void {
    stranger.leave();
    this.owner.evicted(why, peer);
    stranger.end();
  }
}

/** A connection's membership in a pool and a share, until `leave`. */
export class Stranger {
  /** @internal */
  readonly inPool = new Link(this);
  /** @internal */
  readonly inShare = new Link(this);
  private isThere = true;

  /** @internal */
  constructor(
    private readonly strangers: Strangers,
    public pool: Pool,
    private readonly from: { readonly peer: PeerAddress; readonly share: string },
    /** Ends the connection, which makes room. */
    public end: () => void,
    /** When it entered its pool, or was last active there. */
    public since: number,
  ) {
    pool.row.count += 1;
    const row = strangers.share(from.share);
    if (row) row.count += 1;
    this.link();
  }

  /** Moves to another pool, as its newest member. If that has no room, leaves and returns false. */
  advance(pool: Pool, end: () => void, now: number): boolean {
    if (!this.isThere) return false;
    if (!this.strangers.makeRoom(pool, this.from.peer)) {
      this.leave();
      return false;
    }
    this.pool.row.count -= 1;
    this.pool = pool;
    pool.row.count += 1;
    this.end = end;
    this.touch(now);
    return true;
  }

  /** Notes activity: this stranger makes room last. */
  touch(now: number): void {
    if (!this.isThere) return;
    this.since = now;
    this.hold();
    this.link();
  }

  /** The deadline of this stranger; see {@link Pool.patience}. */
  patience(whole: number): number {
    return this.pool.patience(whole);
  }

  /** From now on this stranger does not make room, but still counts. */
  hold(): void {
    this.inPool.remove();
    this.inShare.remove();
  }

  /** Removes the connection: it has ended, or was admitted. */
  leave(): void {
    if (!this.isThere) return;
    this.isThere = false;
    this.hold();
    this.pool.row.count -= 1;
    const row = this.strangers.share(this.from.share);
    if (!row) return;
    row.count -= 1;
    if (row.count === 0) this.strangers.forget(this.from.share);
  }

  private link(): void {
    this.pool.row.push(this.inPool);
    this.strangers.share(this.from.share)?.push(this.inShare);
  }
}

/** An element of a circular list; alone, it is a ring of one. */
class Link {
  before: Link = this;
  behind: Link = this;

  constructor(readonly of: Stranger | undefined) {}

  remove(): void {
    this.before.behind = this.behind;
    this.behind.before = this.before;
    this.before = this;
    this.behind = this;
  }
}

/** Strangers in the order in which they make room. `count` includes held ones, which are not in the list. */
class Row {
  count = 0;
  private readonly ends = new Link(undefined);

  get first(): Stranger | undefined {
    return this.ends.behind.of;
  }

  push(link: Link): void {
    const { ends } = this;
    link.before = ends.before;
    link.behind = ends;
    ends.before.behind = link;
    ends.before = link;
  }
}
