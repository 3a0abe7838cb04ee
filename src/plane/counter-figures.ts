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
  /** SendPacket frames with a discovery packet, dropped ones included. */
  readonly 'packets_received:disco': number;
  /** SendPacket frames with any other packet, dropped ones included. */
  readonly 'packets_received:other': number;
  /** Payload bytes of SendPacket frames, dropped ones included. */
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
  /** PeerGone frames about a peer that is not here. */
  readonly peer_gone_not_here_frames: number;
  /** Ping frames that clients sent. */
  readonly got_ping: number;
  /** Pong frames that the relay answered with. */
  readonly sent_pong: number;
  /** Frames of a type that the relay does not know. No plane counts them, and neither does derper: always 0. */
  readonly unknown_frames: number;
  /** Connections closed because a write stood still for its deadline. */
  readonly write_timeouts: number;
  /** Connections that ended between the greeting and admission: the sum of `logins_failed:` and its reasons. */
  readonly logins_failed: number;
  /** Connections closed because a limit on unadmitted ones was reached, and none of these could make room. */
  readonly connections_refused: number;
  /** Unadmitted connections that made room for a newcomer because the share of their address was full. */
  readonly 'strangers_evicted:address': number;
  /** Unadmitted connections that made room for a newcomer because their pool was full. */
  readonly 'strangers_evicted:pool': number;
  /** Newcomers refused because the share of their address was full, and no connection in it could make room. */
  readonly 'strangers_refused:address': number;
  /** Newcomers refused because a pool was full, and no connection in it could make room. */
  readonly 'strangers_refused:pool': number;
  /** STUN requests that the relay answered. */
  readonly 'stun_requests:success': number;
  /** UDP packets at the STUN port that are no STUN request. */
  readonly 'stun_requests:not_stun': number;
  /** Reads of a STUN socket that failed. */
  readonly 'stun_requests:read_error': number;
  /** STUN answers that could not be sent. */
  readonly 'stun_requests:write_error': number;
  /** STUN requests over IPv4. */
  readonly 'stun_addrfamily:ipv4': number;
  /** STUN requests over IPv6. */
  readonly 'stun_addrfamily:ipv6': number;
  /** STUN requests of which the system did not say to which of its addresses they were sent, where the relay asks. */
  readonly stun_no_local_addr: number;
  /** Callbacks from the native plane to JavaScript; 0 on the JavaScript plane. */
  readonly crossings_up: number;
  /** Calls from JavaScript to the native plane; 0 on the JavaScript plane. */
  readonly crossings_down: number;
  /** Connections that TLS listeners took. */
  readonly tls_accepts: number;
  /** Connections that TLS listeners closed at once for the accept limit. */
  readonly tls_rejects: number;
  /** Raw DERP upgrades over TLS 1.2. */
  readonly 'tls_upgrades:tls12': number;
  /** Raw DERP upgrades over TLS 1.3. */
  readonly 'tls_upgrades:tls13': number;
  /** How often the relay put the reading of a connection off because of its receive limit. */
  readonly rate_limit_waits: number;
  /** How often a worker found that another one was writing to a connection, and left its packets to that one. */
  readonly egress_contended: number;
  /** Gauge: DERP connections over TLS 1.2. */
  readonly 'tls_active:tls12': number;
  /** Gauge: DERP connections over TLS 1.3. */
  readonly 'tls_active:tls13': number;
  /** Gauge: nanoseconds that packets have waited in a queue, as a moving average. */
  readonly queue_time: number;
  /** Writes that took no frame to its end. */
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
  /** Frames that left whole, over all writes. */
  readonly frames_written: number;
  /** Round trips of TCP of at most 10 ms: a sample of each connection now and then. */
  readonly 'tcp_rtt:10ms': number;
  /** Round trips of TCP of more than 10 ms and at most 20 ms. */
  readonly 'tcp_rtt:20ms': number;
  /** Round trips of TCP of more than 20 ms and at most 50 ms. */
  readonly 'tcp_rtt:50ms': number;
  /** Round trips of TCP of more than 50 ms and at most 100 ms. */
  readonly 'tcp_rtt:100ms': number;
  /** Round trips of TCP of more than 100 ms and at most 150 ms. */
  readonly 'tcp_rtt:150ms': number;
  /** Round trips of TCP of more than 150 ms and at most 250 ms. */
  readonly 'tcp_rtt:250ms': number;
  /** Round trips of TCP of more than 250 ms and at most 500 ms. */
  readonly 'tcp_rtt:500ms': number;
  /** Round trips of TCP of more than 500 ms. */
  readonly 'tcp_rtt:inf': number;
  /** Samples that the system did not give. */
  readonly 'tcp_rtt:error': number;
  /** Samples of connections that are not TCP. */
  readonly 'tcp_rtt:non_tcp': number;
  /** Gauge: what counts for `limits.partialBytes` now, in bytes. */
  readonly 'held:partial_bytes': number;
  /** Gauge: what counts for `limits.queuedBytes` now, in bytes. */
  readonly 'held:queued_bytes': number;
  /** Gauge: what counts for `limits.peerGonePairs` now. */
  readonly 'held:peer_gone_pairs': number;
  /** How often `limits.partialBytes` closed a connection. */
  readonly 'over_budget:partial_bytes': number;
  /** How often `limits.queuedBytes` took packets from a connection, or closed it. */
  readonly 'over_budget:queued_bytes': number;
  /** How often `limits.peerGonePairs` made a connection forget a peer. */
  readonly 'over_budget:peer_gone_pairs': number;
}

/** The name of a counter, with its labels behind colons. */
export type CounterName = keyof Counters;
