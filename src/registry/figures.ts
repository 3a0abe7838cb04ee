/** The registry's figures, for metrics and for programs that embed a relay. */

/** A histogram: how many values fell between each bound and the bound before. */
export interface HistogramFigures {
  /** Upper bounds, ascending. A value counts for the first bound that it does not exceed. */
  readonly bounds: readonly number[];
  /** One count for each bound, and a last one for values above all bounds. */
  readonly counts: readonly number[];
  /** The sum of all values. */
  readonly sum: number;
}

/**
 * Figures about connected clients. A gauge shows the present; a counter starts at 0 with the relay and only rises. A
 * connection counts from its admission to its end.
 */
export interface RelayFigures {
  /** Gauge: admitted connections, those of mesh peers included. */
  readonly connections: number;
  /** Gauge: connections of mesh peers, which are links of other relays to this one. */
  readonly meshPeers: number;
  /** Counter: connections that were let in. */
  readonly connectionsEver: number;
  /** Gauge: connections of clients whose home is this relay. */
  readonly home: number;
  /** Gauge: connections of clients that prefer another relay of the region (`Ideal-Node`). */
  readonly notIdeal: number;
  /** Gauge: node keys with more than one connection. */
  readonly dupKeys: number;
  /** Gauge: connections that belong to node keys with more than one connection. */
  readonly dupConnections: number;
  /** Counter: connections that arrived while another connection of their key was open. */
  readonly dupConnectionsEver: number;
  /** Counter: how often clients made this relay their home more than 5 s after they connected. */
  readonly homeMovesIn: number;
  /** Counter: how often clients made another relay their home more than 5 s after they connected. */
  readonly homeMovesOut: number;
  /** Gauge: node keys with a connection to this relay. */
  readonly localKeys: number;
  /** Gauge: those of them that are keys of mesh peers. */
  readonly meshPeerKeys: number;
  /** Gauge: node keys with a connection to this relay or to a relay of its mesh. */
  readonly totalKeys: number;
  /** Gauge: mesh peers that watch this relay's clients (WatchConns). */
  readonly watchers: number;
  /** Counter: node keys that a second mesh link announced. */
  readonly multiCreated: number;
  /** Counter: node keys that several mesh links led to, and that only one leads to since a link withdrew them. */
  readonly multiDeleted: number;
  /** Counter: withdrawals of a node key by a mesh link while another link leads to it. */
  readonly deleteOther: number;
  /** PeerPresent and PeerGone frames in each batch for a watcher. */
  readonly meshBatches: HistogramFigures;
  /** Batches in a row for a watcher. */
  readonly meshLoops: HistogramFigures;
}
