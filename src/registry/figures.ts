/** What the registry counts, for metrics and for those that embed a relay. */

/** How often a value was at most each bound, and more than the bound before. */
export interface HistogramFigures {
  /** Upper bounds, rising; each value counts for the first bound that it does not exceed. */
  readonly bounds: readonly number[];
  /** One count for each bound, and a last one for values beyond all bounds. */
  readonly counts: readonly number[];
  /** The sum of all values. */
  readonly sum: number;
}

/**
 * Who is connected. Gauges are what is true now; counters only rise, from 0 at the relay's start. A connection counts from its
 * admission to its end.
 */
export interface RelayFigures {
  /** Gauge: connections that were let in, those of mesh peers too. */
  readonly connections: number;
  /** Counter: connections that were let in. */
  readonly connectionsEver: number;
  /** Gauge: connections of clients that have their home at this relay. */
  readonly home: number;
  /** Gauge: connections of clients that said with `Ideal-Node` that they would rather be at another relay of the region. */
  readonly notIdeal: number;
  /** Gauge: node keys with more than one connection. */
  readonly dupKeys: number;
  /** Gauge: all connections of node keys with more than one connection. */
  readonly dupConnections: number;
  /** Counter: connections that came while another connection of their key was there. */
  readonly dupConnectionsEver: number;
  /** Counter: clients that made this relay their home more than 5 s after they connected. */
  readonly homeMovesIn: number;
  /** Counter: clients that made another relay their home more than 5 s after they connected. */
  readonly homeMovesOut: number;
  /** Gauge: node keys with a connection to this relay. */
  readonly localKeys: number;
  /** Gauge: node keys with a connection to this relay or to a relay of its mesh. */
  readonly totalKeys: number;
  /** Gauge: mesh peers that watch who connects to this relay. */
  readonly watchers: number;
  /** Counter: how often a second mesh link announced a node key. */
  readonly multiCreated: number;
  /** Counter: how often one of several mesh links took a node key back, and a single one stayed. */
  readonly multiDeleted: number;
  /** Counter: how often a mesh link took back a node key that another link leads to. */
  readonly deleteOther: number;
  /** Presences in each batch of frames for a watcher. */
  readonly meshBatches: HistogramFigures;
  /** Batches for a watcher in a row. */
  readonly meshLoops: HistogramFigures;
}
