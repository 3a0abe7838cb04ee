/** The policy of the data plane: limits, deadlines, rates. Part of `plane.ts`, whose rules apply here. */
import type { NodeKey } from '../protocol/key.js';

/** What the plane permits. `../relay/policy.ts` says where each number comes from. */
export interface PlanePolicy {
  /** How much connections may have. */
  readonly limits: PlaneLimits;
  /** How long steps may take. */
  readonly deadlines: PlaneDeadlines;
  /**
   * Packets in each of a connection's two queues. 32 packets of 1400 B take 45 KB in a queue: the cost of one slow
   * reader.
   */
  readonly queueDepth: number;
  /** Packets in each of a mesh link's two queues. A link carries the packets of many clients. */
  readonly linkQueueDepth: number;
  /** The time between two KeepAlive frames: `interval` plus a random part of `jitter`. Clients give up after 120 s. */
  readonly keepAlive: {
    /** The least time between two frames. */
    readonly interval: number;
    /** The most that is added to `interval`. */
    readonly jitter: number;
  };
  /** How often one connection is told that a peer is not connected. */
  readonly notHere: {
    /** Frames at once. */
    readonly burst: number;
    /** Frames per second in the long run. */
    readonly perSecond: number;
  };
  /**
   * How the plane asks the control plane for keys that have neither a connection nor a route; `null`: it does not, and
   * packets to such keys are dropped at once.
   */
  readonly lookups: PlaneLookups | null;
  /** Socket options. */
  readonly tcp: {
    /** TCP keepalive idle time; 0 keeps the system's. */
    readonly keepAlive: number;
    /** How long sent data may stay unacknowledged; 0 keeps the system's limit. */
    readonly userTimeout: number;
    /**
     * The interval between samples of a connection's round trip, where the plane and the system can measure it; 0
     * disables it.
     */
    readonly roundTrips: number;
  };
  /** Whether the plane estimates how many peers send packets to each connection. Costs up to 4 KiB for each. */
  readonly countSenders: boolean;
  /** Whether the plane raises `failures`. */
  readonly tellFailures: boolean;
  /** Destination keys whose dropped packets the plane reports with `drops`. */
  readonly watchedDrops: readonly NodeKey[];
  /** Connections that a TLS listener accepts; it closes any more at once. `null` for no limit. */
  readonly acceptRate: {
    /** Connections per second in the long run; may be a fraction. */
    readonly perSecond: number;
    /** Connections at once. */
    readonly burst: number;
  } | null;
  /**
   * The receive limit of connections without mesh permission; `null` for none. Each connection has its own bucket,
   * which starts full and is refilled when the rate changes. Every inbound frame costs the length of its body, at most
   * a whole bucket. The frame that overdraws the bucket is read to its end; then the plane stops reading this
   * connection, and no other, until the debt is paid.
   */
  readonly receiveRate: ReceiveRate | null;
}

/**
 * The bounds of lookups. A SendPacket to a key that has neither a connection nor a route meets the first rule that holds:
 *
 * 1. The key is a known miss: the packet is dropped as without lookups (`unknown_dest`; NotHere for a disco packet, within
 *    {@link PlanePolicy.notHere}). Counted `lookups:missed`.
 * 2. The plane has asked for the key: the packet waits behind the others of the key.
 * 3. The packet's address asks for `keysPerAddress` keys already: dropped as by rule 1. Counted `lookups:share`.
 * 4. The plane asks for `keys` keys already, and none makes room: dropped as by rule 1. Counted `lookups:crowded`.
 * 5. The connection has no token: dropped as by rule 1. Counted `lookups:limited`.
 * 6. The plane raises `lookup`, counted `lookups:asked`, and the packet waits.
 *
 * Addresses are those of {@link PlaneLimits.perAddress}; a connection whose address is exempt or unknown counts as an address
 * of its own. A key counts for the address of the packet that has caused the lookup. Where all `keys` are taken, the address
 * that asks for the most makes room, if the number of its keys has more binary digits than the newcomer's would have: the
 * first one that has come to as many digits. What waits for its oldest key is dropped as by rule 1, counted
 * `lookups:evicted`; but if a packet of an address waits there that asks for at least two fewer, the key counts for that one
 * from then on, and the next one is looked at. The answer for an evicted key is still to come: a packet to it starts at rule
 * 3, takes no token, and raises nothing. At most `keys` keys are evicted and not answered.
 *
 * Of each key and kind (disco, other), at most {@link PlanePolicy.queueDepth} packets wait; the oldest one makes room,
 * reason `queue_head`. A packet that would take those of its address above `bytesPerAddress` is dropped as by rule 1, counted
 * `lookups:share`. Where all waiting packets would take more than `bytes`, the address with the most bytes makes room as it
 * does for keys, packet by packet from its oldest one; if it does not, the new packet is dropped as by rule 1, counted
 * `lookups:crowded`. The key of a dropped packet stays asked for. A disco packet takes its token of `notHere` when it begins to wait.
 *
 * Packets wait even after their sender has ended. A tap shows them once it is known what becomes of them. `admit` makes its
 * key no known miss; what waits for the key is dropped when the answer comes. A policy without lookups answers all lookups
 * as `missing` does, and forgets all misses; `shutdown` drops what waits, reason `unknown_dest`, and counts no key as missing.
 *
 * ForwardPacket never causes a lookup. One to a key that has no connection here is answered with NotHere whatever its kind,
 * within the `notHere` of the mesh peer; without lookups, only a disco packet is.
 */
export interface PlaneLookups {
  /** Lookups per second that one connection may cause in the long run. */
  readonly perSecond: number;
  /** Lookups that one connection may cause at once. */
  readonly burst: number;
  /** Keys that the plane may ask for at the same time. */
  readonly keys: number;
  /** The most keys of one address among them. */
  readonly keysPerAddress: number;
  /** Memory of all packets that wait for answers. */
  readonly bytes: number;
  /** The most memory of packets of one address. */
  readonly bytesPerAddress: number;
  /** Known misses: keys that `missing` has answered. Above this number, the oldest one is forgotten. */
  readonly misses: number;
  /** How long a key stays a known miss. */
  readonly missTime: number;
}

/** A token bucket for the bytes that a connection sends. */
export interface ReceiveRate {
  /** Bytes that flow into the bucket each second; more than 0. */
  readonly bytesPerSecond: number;
  /** Size of the bucket in bytes; at least the length of the largest frame. */
  readonly burst: number;
}

/** How much one connection, or all of them, may have. */
export interface PlaneLimits {
  /** Bytes of the request head of a raw DERP upgrade; longer heads go to the HTTP server. */
  readonly headBytes: number;
  /** Bytes of a ClientInfo body; a longer one ends the login. */
  readonly clientInfoBytes: number;
  /**
   * Descriptors that listeners' connections may use, so that some are left for other purposes. A connection uses one;
   * on the native plane, a TLS connection of the HTTP server uses three.
   */
  readonly connections: number;
  /**
   * Connections of one listener that have not sent a whole request head; their TLS handshake counts. Above this limit,
   * and above `pendingLogins`, the oldest one makes room for a new one. While more than half of either limit is used,
   * new connections have a quarter of their deadlines.
   */
  readonly handshakes: number;
  /** Handshakes of one listener that `certificateNeeded` parks. Above this limit, the oldest one makes room for a new one. */
  readonly parkedHandshakes: number;
  /**
   * Connections of one listener between greeting and admission. One that waits for `admit` does not make room for
   * others.
   */
  readonly pendingLogins: number;
  /** Bytes of incomplete ClientInfo frames, over all connections. */
  readonly loginBytes: number;
  /**
   * Connections of one listener that belong to the HTTP server. The plane bounds those that the server has not taken
   * yet.
   */
  readonly duplexes: number;
  /**
   * Unadmitted connections of one IPv4 address, or of one IPv6 /64, over all listeners. Above this limit, a new
   * connection replaces the oldest one, if that one is at least a second old; otherwise the new one is refused. The
   * HTTP server has the same limit for its own connections.
   */
  readonly perAddress: number;
  /** Networks, `address/bits`, that are exempt from `perAddress`. */
  readonly exempt: readonly string[];
  /** Bytes of control frames that may be queued for one connection. */
  readonly controlBytes: number;
  /** Bytes that a client may send ahead while it waits for admission. */
  readonly leftoverBytes: number;
  /** Peers of one connection whose departure it will be told (PeerGone): the most recent ones. */
  readonly peerGoneSubscriptions: number;

  // The next three limits apply to all connections together. What an ordinary connection needs is free: 2 KiB, 4 KiB
  // and 8 pairs. Anything beyond that counts (`held:` and `over_budget:` in `counters.ts`); above the limit, the
  // connection that holds the most pays.
  /**
   * Bytes of incomplete frames and records, and of data that waits for an admission or a receive limit. Above the
   * limit, the connection that holds the most is closed, reason `over_budget`; among several large ones, the one that
   * has been large for longest.
   */
  readonly partialBytes: number;
  /**
   * Outbound bytes that the system has not taken: control frames, queued packets, pending writes. Above the limit, the
   * connection or link that holds the most loses packets, reason `over_budget`; without packets it is
   * closed, for the same reason.
   */
  readonly queuedBytes: number;
  /**
   * Pairs of a connection and a peer whose departure it will be told. Above the limit, the connection with the most
   * pairs forgets its oldest.
   */
  readonly peerGonePairs: number;
}

/** How long steps may take. */
export interface PlaneDeadlines {
  /** From the acceptance to the end of the TLS handshake. */
  readonly handshake: number;
  /** How long `certificateNeeded` may park a handshake. A handshake that continues has `handshake` again. */
  readonly certificate: number;
  /** From the end of the handshake to a whole request head. */
  readonly head: number;
  /** From the greeting to a whole ClientInfo. */
  readonly clientInfo: number;
  /** From the login to `admit` or `refuse`. */
  readonly admission: number;
  /** How long writes may make no progress; 0 for no deadline. */
  readonly write: number;
  /** The `write` deadline of connections with mesh permission, whose dumps are long. */
  readonly meshWrite: number;
  /** The `write` deadline of mesh links. */
  readonly linkWrite: number;
  /** How long the relay at the other end of a link may be silent. */
  readonly linkSilence: number;
  /**
   * How long a client that answers pings may be silent before the plane pings it; 0 disables these pings. Only a plane
   * that cannot set `userTimeout` of {@link PlanePolicy.tcp} pings; elsewhere the system detects vanished clients.
   */
  readonly silence: number;
  /** How long a pinged client has to send anything; 0 for no deadline. */
  readonly pong: number;
}
