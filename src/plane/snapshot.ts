/** Figures of single connections and links. Part of `plane.ts`, whose rules hold. */

/** Columns of a snapshot's rows. Rates are the reader's to derive, from two snapshots. */
export const SNAPSHOT_COLUMNS = [
  'id',
  'packetsReceived',
  'bytesReceived',
  'packetsSent',
  'bytesSent',
  'packetsDropped',
  'queuedPackets',
] as const;

/** Columns of a snapshot's links. What the link's relay has said are its `changes`; `packets` are what we forward to it. */
export const LINK_COLUMNS = ['link', 'packetsSent', 'bytesSent', 'packetsDropped', 'queuedPackets', 'changes'] as const;

/** Figures of connections and links at one moment. */
export interface Snapshot {
  /** Admitted connections in all. */
  readonly total: number;
  /** Row after row, {@link SNAPSHOT_COLUMNS} in each. */
  readonly rows: Float64Array;
  /** All open links, whatever the page; row after row, {@link LINK_COLUMNS} in each. */
  readonly links: Float64Array;
}
