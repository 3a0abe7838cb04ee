/** What the plane bounds over all of its connections. */
import type { WritableCounters } from '../counters.js';
import type { PlaneLimits } from '../plane.js';
import { Budget } from './budget.js';

/** A partial frame of an ordinary packet, which every client has now and then. */
const FREE_PARTIAL = 2 << 10;
/** Beyond this a partial frame is as good as full, and its age says more than its size: those of honest clients do not last. */
const LARGE_PARTIAL = 32 << 10;
/** A few control frames. More waits only behind a socket buffer of the system's that is full, and far larger. */
const FREE_QUEUED = 4 << 10;
/** Most clients talk with a few others. Beyond these, pairs grow with the square of clients. */
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
  /** Bytes that were read and cannot be acted upon: partial frames, and what waits for an admission or a receive limit. */
  readonly partial: Budget<Holder>;
  /** Bytes on their way out that the system has not taken. */
  readonly queued: Budget<QueueHolder>;
  /** Sources that connections are told the leaving of. */
  readonly pairs: Budget<Holder>;
}

/** `limits` are those of the policy that is in force. */
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
