/** Figures of single connections and mesh links. Part of `plane.ts`, whose rules apply here. */

/**
 * Columns of a snapshot's rows. For a rate, a reader compares two snapshots. `senders` is an estimate of how many peers have
 * sent packets to the connection, 0 unless the policy's `countSenders` is set. `roundTrip` is in milliseconds, as it was
 * measured last, and `NaN` before that: the native plane asks the system as often as the policy's `tcp.roundTrips` says,
 * the JavaScript plane has what its last ping of a silent client took.
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
