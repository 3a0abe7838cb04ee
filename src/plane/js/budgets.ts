/** The limits of the plane over all its connections. */
import type { WritableCounters } from '../counters.js';
import type { PlaneLimits } from '../plane.js';
import { Budget } from './budget.js';

/** A partial frame of an ordinary packet, which every client has at times. */
const FREE_PARTIAL = 2 << 10;
/** From this size on, the age of a partial frame says more than its size: an honest client's does not last. */
const LARGE_PARTIAL = 32 << 10;
/** A few control frames. More of them wait only behind a full socket buffer, which is far larger. */
const FREE_QUEUED = 4 << 10;
/** Most clients talk with a few others. Beyond that, the number of pairs grows with the square of the clients. */
const FREE_PAIRS = 8;

/** A connection, as the budgets see it. */
export interface Holder {
  /** Closes it, because it holds the most of what all connections have sent and the plane cannot act upon. */
  close(reason: 'over_budget'): void;
  /** Forgets so many of the sources whose leaving it would be told of, the oldest first. */
  forgetSources(count: number): void;
}

/** The way out of a connection, as the budgets see it. */
export interface QueueHolder {
  /** Drops its oldest packets, until so many bytes are free. */
  shed(bytes: number): void;
}

export interface Budgets {
  /**
   * Bytes that the plane has read and cannot use yet: partial frames, and data that waits for an admission or a receive
   * limit.
   */
  readonly partial: Budget<Holder>;
  /** Outbound bytes that the system has not taken. */
  readonly queued: Budget<QueueHolder>;
  /** Pairs of a connection and a source whose departure it will be told. */
  readonly pairs: Budget<Holder>;
}

/** `limits` returns the limits of the current policy. */
export function makeBudgets(counters: WritableCounters, limits: () => PlaneLimits): Budgets {
  return {
    partial: new Budget(
      {
        free: FREE_PARTIAL,
        alike: LARGE_PARTIAL,
        limit: () => limits().partialBytes,
        counters: { held: 'held:partial_bytes', over: 'over_budget:partial_bytes' },
        relieve: (connection) => connection.close('over_budget'),
      },
      counters,
    ),
    queued: new Budget(
      {
        free: FREE_QUEUED,
        limit: () => limits().queuedBytes,
        counters: { held: 'held:queued_bytes', over: 'over_budget:queued_bytes' },
        relieve: (egress, bytes) => egress.shed(bytes),
      },
      counters,
    ),
    pairs: new Budget(
      {
        free: FREE_PAIRS,
        limit: () => limits().peerGonePairs,
        counters: { held: 'held:peer_gone_pairs', over: 'over_budget:peer_gone_pairs' },
        relieve: (connection, pairs) => connection.forgetSources(pairs),
      },
      counters,
    ),
  };
}
