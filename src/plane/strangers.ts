/**
 * Connections that are not admitted: each is in one pool, and has part in the share of its address.
 *
 * Where a pool is full, the connection that has been there longest makes room for the newcomer; where a share is, its own
 * longest one does, if it has had {@link LEAST}: of connections that come at once from one address, the first ones get on.
 * Every step takes the same time, however many there are. `crates/derp-net/src/state/strangers` is the twin.
 */
import { Networks, networkOf } from './networks.js';
import type { PeerAddress } from './plane.js';

/** What a connection has, in milliseconds, before another one of its own address takes its place. */
const LEAST = 1000;
/** In a pool of which more than half is used, the patience with newcomers is so many times shorter. */
const HURRY = 4;

/** What is full: the share of an address, or a pool. */
export type Full = 'address' | 'pool';

/** Bounds, read whenever somebody comes. */
export interface StrangerLimits {
  /** Connections of one address; see `PlaneLimits`. */
  readonly perAddress: number;
  /** Networks whose addresses have no share. */
  readonly exempt: readonly string[];
}

export interface StrangersOwner {
  limits(): StrangerLimits;
  /** A connection has made room for one of this peer. */
  evicted(why: Full, peer: PeerAddress): void;
  /** No connection could make room for one of this peer. */
  refused(why: Full, peer: PeerAddress): void;
}

/** Connections of one kind, of one listener. */
export class Pool {
  /** @internal */
  readonly row = new Row();

  /** `limit` is asked whenever somebody comes. */
  constructor(readonly limit: () => number) {}

  get count(): number {
    return this.row.count;
  }

  get isFull(): boolean {
    return this.count >= this.limit();
  }

  /** What there is of a patience with its newcomers. */
  patience(whole: number): number {
    return this.count > this.limit() / 2 ? whole / HURRY : whole;
  }
}

export class Strangers {
  private readonly shares = new Map<string, Row>();
  private exempt = new Networks([]);

  constructor(private readonly owner: StrangersOwner) {}

  /** Whether a newcomer has a place without anybody making room. */
  hasRoom(pool: Pool, address: string): boolean {
    const { perAddress } = this.owner.limits();
    return !pool.isFull && (this.shares.get(this.shareOf(address))?.count ?? 0) < perAddress;
  }

  /** A place for a newcomer, whoever may have to make room: `end` ends it then. `undefined` if nobody can. */
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

  /** The name of an address's share; empty if it has none. */
  private shareOf(address: string): string {
    const { exempt } = this.owner.limits();
    if (exempt !== this.exempt.of) this.exempt = new Networks(exempt);
    return this.exempt.has(address) ? '' : networkOf(address);
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

/** The place of one connection, until it leaves. */
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
    /** When it came to its pool, or did something there. */
    public since: number,
  ) {
    pool.row.count += 1;
    const row = strangers.share(from.share);
    if (row) row.count += 1;
    this.link();
  }

  /** Goes on to another pool, as a newcomer there. False if there is no place; it leaves then. */
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

  /** It has done something: all others make room before it. */
  touch(now: number): void {
    if (!this.isThere) return;
    this.since = now;
    this.hold();
    this.link();
  }

  /** What there is of a patience with it. */
  patience(whole: number): number {
    return this.pool.patience(whole);
  }

  /** It makes no room from here on. It has a place all the same. */
  hold(): void {
    this.inPool.remove();
    this.inShare.remove();
  }

  /** It has ended, or is admitted. */
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

/** A place in a row; alone, it is a ring of one. */
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

/** Strangers in the order in which they make room; and how many there are, those included that make none. */
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
