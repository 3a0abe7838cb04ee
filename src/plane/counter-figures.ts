import type { DropCounter } from './drop-reasons.js';
import type { FailureCounter } from './failures.js';

/**
 * The data plane's counters: they rise from 0 at the relay's start, and are exact up to 2^53. A gauge is what is true now.
 * {@link DropCounter} names those of packets that were dropped, {@link FailureCounter} those of connections that came to
 * nothing before they were admitted.
 */
export interface Counters extends Readonly<Record<DropCounter | FailureCounter, number>> {
  /** Connections handed to DERP: upgraded, not yet logged in. */
  readonly accepts: number;
  /** SendPacket frames with a discovery packet; dropped packets count. */
  readonly 'packets_received:disco': number;
  /** SendPacket frames with any other packet; dropped packets count. */
  readonly 'packets_received:other': number;
  /** Payload bytes of SendPacket frames; dropped packets count. */
  readonly bytes_received: number;
  /** RecvPacket frames that a socket took. */
  readonly packets_sent: number;
  /** Payload bytes of RecvPacket frames that a socket took. */
  readonly bytes_sent: number;
  /** ForwardPacket frames that came from mesh peers. */
  readonly packets_forwarded_in: number;
  /** ForwardPacket frames that went to mesh peers. */
  readonly packets_forwarded_out: number;
  /** PeerGone frames about a peer that has left. */
  readonly peer_gone_disconnected_frames: number;
  /** PeerGone frames about a peer that is not connected. */
  readonly peer_gone_not_here_frames: number;
  /** Ping frames that clients sent. */
  readonly got_ping: number;
  /** Pong frames that answered these pings. */
  readonly sent_pong: number;
  /** Frames of unknown type. Always 0: neither the planes nor derper count them. */
  readonly unknown_frames: number;
  /** Connections closed because a write made no progress within its deadline. */
  readonly write_timeouts: number;
  /** Connections that ended between the greeting and admission: the sum of `logins_failed:` and its reasons. */
  readonly logins_failed: number;
  /** Unadmitted connections that were closed, because a limit was reached and no other connection could make room. */
  readonly connections_refused: number;
  /** Unadmitted connections closed to make room for a new connection of their address, whose share was full. */
  readonly 'strangers_evicted:address': number;
  /** Unadmitted connections closed to make room for a new connection in their pool, which was full. */
  readonly 'strangers_evicted:pool': number;
  /**
   * New connections refused: the share of their address was full, and no connection of that address could make room.
   */
  readonly 'strangers_refused:address': number;
  /** New connections refused: the pool was full, and no connection in it could make room. */
  readonly 'strangers_refused:pool': number;
  /** STUN requests that the relay answered. */
  readonly 'stun_requests:success': number;
  /** UDP packets at the STUN port that are not STUN requests. */
  readonly 'stun_requests:not_stun': number;
  /** Reads of a STUN socket that failed. */
  readonly 'stun_requests:read_error': number;
  /** STUN answers that the socket did not send. */
  readonly 'stun_requests:write_error': number;
  /** STUN requests over IPv4. */
  readonly 'stun_addrfamily:ipv4': number;
  /** STUN requests over IPv6. */
  readonly 'stun_addrfamily:ipv6': number;
  /** STUN requests for which the system did not report the local address, where the relay asks for it. */
  readonly stun_no_local_addr: number;
  /** Callbacks from the native plane to JavaScript; 0 on the JavaScript plane. */
  readonly crossings_up: number;
  /** Calls from JavaScript to the native plane; 0 on the JavaScript plane. */
  readonly crossings_down: number;
  /** Connections that TLS listeners accepted. */
  readonly tls_accepts: number;
  /** Connections that TLS listeners closed at once because of the accept limit. */
  readonly tls_rejects: number;
  /** Raw DERP upgrades over TLS 1.2. */
  readonly 'tls_upgrades:tls12': number;
  /** Raw DERP upgrades over TLS 1.3. */
  readonly 'tls_upgrades:tls13': number;
  /** How often the receive limit made the relay pause the reading of a connection. */
  readonly rate_limit_waits: number;
  /** How often a worker left packets to another worker that was writing to the same connection. */
  readonly egress_contended: number;
  /** Gauge: DERP connections over TLS 1.2. */
  readonly 'tls_active:tls12': number;
  /** Gauge: DERP connections over TLS 1.3. */
  readonly 'tls_active:tls13': number;
  /** Gauge: moving average of the time that packets wait in a queue, in nanoseconds. */
  readonly queue_time: number;
  /** Writes that completed no frame. */
  readonly 'write_frames:0': number;
  /** Writes of 1 whole frame. */
  readonly 'write_frames:1': number;
  /** Writes of 2 whole frames. */
  readonly 'write_frames:2': number;
  /** Writes of 3 whole frames. */
  readonly 'write_frames:3': number;
  /** Writes of 4 whole frames. */
  readonly 'write_frames:4': number;
  /** Writes of 5 whole frames. */
  readonly 'write_frames:5': number;
  /** Writes of 6 whole frames. */
  readonly 'write_frames:6': number;
  /** Writes of 7 whole frames. */
  readonly 'write_frames:7': number;
  /** Writes of 8 whole frames. */
  readonly 'write_frames:8': number;
  /** Writes of 9 whole frames. */
  readonly 'write_frames:9': number;
  /** Writes of 10 whole frames. */
  readonly 'write_frames:10': number;
  /** Writes of 11 to 15 whole frames. */
  readonly 'write_frames:15': number;
  /** Writes of 16 to 20 whole frames. */
  readonly 'write_frames:20': number;
  /** Writes of 21 to 25 whole frames. */
  readonly 'write_frames:25': number;
  /** Writes of 26 to 50 whole frames. */
  readonly 'write_frames:50': number;
  /** Writes of 51 to 100 whole frames. */
  readonly 'write_frames:100': number;
  /** Writes of more than 100 whole frames. */
  readonly 'write_frames:more': number;
  /** Frames that were written whole, over all writes. */
  readonly frames_written: number;
  /** TCP round trips of at most 10 ms. Each connection is sampled at intervals. */
  readonly 'tcp_rtt:10ms': number;
  /** TCP round trips of more than 10 ms and at most 20 ms. */
  readonly 'tcp_rtt:20ms': number;
  /** TCP round trips of more than 20 ms and at most 50 ms. */
  readonly 'tcp_rtt:50ms': number;
  /** TCP round trips of more than 50 ms and at most 100 ms. */
  readonly 'tcp_rtt:100ms': number;
  /** TCP round trips of more than 100 ms and at most 150 ms. */
  readonly 'tcp_rtt:150ms': number;
  /** TCP round trips of more than 150 ms and at most 250 ms. */
  readonly 'tcp_rtt:250ms': number;
  /** TCP round trips of more than 250 ms and at most 500 ms. */
  readonly 'tcp_rtt:500ms': number;
  /** TCP round trips of more than 500 ms. */
  readonly 'tcp_rtt:inf': number;
  /** Samples for which the system reported no round trip. */
  readonly 'tcp_rtt:error': number;
  /** Samples of connections that do not use TCP. */
  readonly 'tcp_rtt:non_tcp': number;
  /** Gauge: bytes that count against `limits.partialBytes`. */
  readonly 'held:partial_bytes': number;
  /** Gauge: bytes that count against `limits.queuedBytes`. */
  readonly 'held:queued_bytes': number;
  /** Gauge: pairs that count against `limits.peerGonePairs`. */
  readonly 'held:peer_gone_pairs': number;
  /** How often `limits.partialBytes` closed a connection. */
  readonly 'over_budget:partial_bytes': number;
  /** How often `limits.queuedBytes` dropped packets of a connection, or closed it. */
  readonly 'over_budget:queued_bytes': number;
  /** How often `limits.peerGonePairs` made a connection forget a peer. */
  readonly 'over_budget:peer_gone_pairs': number;
  /** Keys that the data plane asked the control plane for. */
  readonly 'lookups:asked': number;
  /** Keys that the control plane answered as being nowhere; a policy without lookups answers so, too. */
  readonly 'lookups:missing': number;
  /** Packets to a key that was known to be nowhere. */
  readonly 'lookups:missed': number;
  /** Packets to an unknown key that the limit of their connection kept from being looked up. */
  readonly 'lookups:limited': number;
  /** Packets to an unknown key that were dropped because too many keys, or too many bytes, waited for answers. */
  readonly 'lookups:crowded': number;
  /** Packets to an unknown key that were dropped because too many keys, or bytes, of their address waited for answers. */
  readonly 'lookups:share': number;
  /** Lookups, and single packets that waited, that made room for those of an address with fewer. */
  readonly 'lookups:evicted': number;
}

/** The name of a counter; its labels follow behind colons. */
export type CounterName = keyof Counters;
