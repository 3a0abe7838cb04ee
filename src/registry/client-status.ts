/** Packets and bytes of one direction. Bytes are those of the packets, without keys and frame headers. */
export interface TrafficFigures {
  /** Packets in this direction. */
  readonly packets: number;
  /** Payload bytes of these packets. */
  readonly bytes: number;
}

/** How long packets for a client waited in its queues, in milliseconds. Packets that did not wait do not count. */
export interface QueueDelay {
  /** The mean. */
  readonly mean: number;
  /** The longest time. */
  readonly max: number;
}

/** Packets for a client that its queues dropped, by reason. */
export interface QueueDrops {
  /** The oldest packet of a full queue: `queue_head` of the metrics. */
  readonly head: number;
  /** A packet that found its queue full: `queue_tail`. */
  readonly tail: number;
  /** A packet that had waited too long: `queue_age`. */
  readonly age: number;
  /** The queues of all clients together were full, and this client's held the most: `over_budget`. */
  readonly overBudget: number;
}

/** One connection at one moment. Counters start at 0 when the connection is let in. */
export interface ClientStatus {
  /** Number of the connection, rising in the order in which connections come. */
  readonly id: number;
  /** The client's public key, `nodekey:` and 64 hex digits. */
  readonly key: string;
  /** IP address that the connection comes from. */
  readonly address: string;
  /** TCP port that the connection comes from. */
  readonly port: number;
  /** When the connection was let in, in milliseconds since 1970. */
  readonly connectedAt: number;
  /** Whether packets for the key go to this connection: to the latest that sent, where the key has several. */
  readonly active: boolean;
  /** Whether the key has other connections to this relay. */
  readonly duplicate: boolean;
  /** Whether the client said that this relay is its home. */
  readonly home: boolean;
  /** Whether the client is a relay that showed the mesh key. */
  readonly mesh: boolean;
  /** Whether the client said with `Ideal-Node` that it would rather be at another relay of the region. */
  readonly notIdeal: boolean;
  /** Whether the client says that it is a prober. */
  readonly prober: boolean;
  /** Version of the DERP protocol that the client speaks. */
  readonly version: number;
  /** What the client calls itself, printable ASCII of at most 32 characters; empty for most clients. */
  readonly app: string;
  /** Version of TLS; `null` without TLS. */
  readonly tls: '1.2' | '1.3' | null;
  /** Packets that the client has sent to the relay. */
  readonly received: TrafficFigures;
  /** Packets that the relay has written to the client. */
  readonly sent: TrafficFigures;
  /** Packets for the client that were dropped. */
  readonly dropped: number;
  /** Packets for the client that wait in its queues. */
  readonly queued: number;
  /** Of {@link dropped}, those since packets first waited; all 0 when none has waited for a minute. */
  readonly queueDrops: QueueDrops;
  /** `null` when no packet has waited for a minute. */
  readonly queueDelay: QueueDelay | null;
  /** About how many peers have sent packets to the client; `null` unless the setting `senderCardinality` is on. */
  readonly senders: number | null;
  /**
   * Round trip of the connection in milliseconds, as it was measured last; `null` before that, and where the plane cannot
   * measure it. On the native plane it is TCP's, at most ten seconds old; on the JavaScript plane it is that of the last
   * ping, which only clients get that are silent for 45 seconds.
   */
  readonly roundTrip: number | null;
}
