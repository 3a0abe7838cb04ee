/** Bounds the connections of the HTTP server. When they are full, the one that was idle for longest makes room. */
import type { Duplex } from 'node:stream';
import type { DuplexInfo, ListenerId } from '../plane/plane.js';
import { type Full, Pool, type Stranger, type StrangerLimits, Strangers } from '../plane/strangers.js';

/** Further connections for addresses with access to `/debug/`, so that operators get in during a flood. */
const RESERVE = 64;

/** What the metrics listener counts as, beside those of the plane; and how many connections it may have. */
export const METRICS_LISTENER: ListenerId = -1;
export const SCRAPERS = 32;

export interface VisitorLimits extends StrangerLimits {
  /** Connections of one listener. */
  readonly duplexes: number;
}

export class Visitors {
  /** Connections that were closed to make room, by what was full. */
  readonly evicted: Record<Full, number> = { address: 0, pool: 0 };
  /** New connections that were refused because none could make room, by what was full. */
  readonly refused: Record<Full, number> = { address: 0, pool: 0 };
  /** An address whose share is full, of those that came since it was asked for last. */
  crowded: string | undefined;
  private readonly strangers: Strangers;
  private readonly pools = new Map<ListenerId, Pool>();
  private readonly reserve = new Pool(() => RESERVE);

  constructor(
    private readonly limits: () => VisitorLimits,
    private readonly mayDebug: (address: string) => boolean,
  ) {
    this.strangers = new Strangers({
      limits,
      evicted: (why, { address }) => {
        this.evicted[why] += 1;
        if (why === 'address') this.crowded = address;
      },
      refused: (why, { address }) => {
        this.refused[why] += 1;
        if (why === 'address') this.crowded = address;
      },
    });
  }

  /** A place until the stream closes, if it does not leave before; `undefined` if there is none. */
  enter(stream: Duplex, { listener, peer }: DuplexInfo): Stranger | undefined {
    const { address } = peer;
    const pool = this.poolOf(listener);
    const isFull = listener !== METRICS_LISTENER && !this.strangers.hasRoom(pool, address);
    const isReserved = isFull && !this.reserve.isFull && this.mayDebug(address);
    const end = () => stream.destroy();
    const place = isReserved
      ? this.strangers.enter(this.reserve, { ...peer, address: '' }, end, performance.now())
      : this.strangers.enter(pool, peer, end, performance.now());
    if (place) stream.once('close', () => place.leave());
    return place;
  }

  private poolOf(listener: ListenerId): Pool {
    const most = listener === METRICS_LISTENER ? SCRAPERS : Number.POSITIVE_INFINITY;
    const pool = this.pools.get(listener) ?? new Pool(() => Math.min(this.limits().duplexes, most));
    this.pools.set(listener, pool);
    return pool;
  }
}
