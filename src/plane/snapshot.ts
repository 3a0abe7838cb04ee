/** Figures of single connections and mesh links. Part of `plane.ts`, whose rules apply here. */

/**
 * Columns of a snapshot's rows. For a rate, a reader compares two snapshots. `senders` is an estimate of how many peers have
 * sent packets to the connection, 0 unless the policy's `countSenders` is set. `roundTrip` is in milliseconds, as it was
 * measured last, and `NaN` before that: the native plane asks the system as often as the policy's `tcp.roundTrips` says,
 * the JavaScript plane has what its last ping of a silent client took.
 *
 * The columns from `droppedHead` on are about the queues of the connection, since packets first waited in them. A minute
 * after the last packet waited they are 0 again, so that an idle client costs nothing:
 *
 * - `droppedHead`, `droppedTail`, `droppedAge`, `droppedOverBudget`: packets dropped under the reasons `queue_head`,
 *   `queue_tail`, `queue_age` and `over_budget`. They are part of `packetsDropped`, which counts from the connection's start
 *   and never falls.
 * - `queueDelayMean`, `queueDelayMax`: how long packets waited that then left, in milliseconds, with fractions. Packets that
 *   did not wait do not count.
 */
export const SNAPSHOT_COLUMNS = [
  'id',
  'packetsReceived',
  'bytesReceived',
  'packetsSent',
  'bytesSent',
  'packetsDropped',
  'queuedPackets',
  'senders',
  'roundTrip',
  'droppedHead',
  'droppedTail',
  'droppedAge',
  'droppedOverBudget',
  'queueDelayMean',
  'queueDelayMax',
] as const;

/**
 * Columns of a snapshot's links. `packets` are those that this relay forwards; `changes` are those that the other relay
 * announced.
 */
export const LINK_COLUMNS = ['link', 'packetsSent', 'bytesSent', 'packetsDropped', 'queuedPackets', 'changes'] as const;

/** The figures of connections and links at one moment. */
export interface Snapshot {
  /** The number of admitted connections, over all pages. */
  readonly total: number;
  /** Rows of {@link SNAPSHOT_COLUMNS}, one after the other. */
  readonly rows: Float64Array;
  /** Rows of {@link LINK_COLUMNS}, one after the other: every open link, whatever the page. */
  readonly links: Float64Array;
}
