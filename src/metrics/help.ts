/**
 * Types and help of the metrics that derper gives none. `/debug/varz` leaves them out, as derper does; the metrics listener
 * says them. Pure.
 */
import type { Family } from './families.js';

type Known = readonly [type: 'counter' | 'gauge', help: string];

const KNOWN: Readonly<Record<string, Known>> = {
  bootstrap_dns_published_hits: ['counter', 'Questions of /bootstrap-dns for a name that is published.'],
  bootstrap_dns_published_misses: ['counter', 'Questions of /bootstrap-dns for a published name without addresses.'],
  bootstrap_dns_queried_domains: ['counter', 'Names that /bootstrap-dns was asked for.'],
  bootstrap_dns_requests: ['counter', 'Questions of /bootstrap-dns.'],
  bootstrap_dns_unpublished_hits: ['counter', 'Questions of /bootstrap-dns for a name that is answered on request.'],
  bootstrap_dns_unpublished_misses: ['counter', 'Questions of /bootstrap-dns for a name on request without addresses.'],
  bootstrap_dns_unpublished_percent_misses: ['counter', 'Questions of /bootstrap-dns beyond the share of a rollout.'],
  derp_accepts: ['counter', 'Connections that became DERP.'],
  derp_average_queue_duration_ms: ['gauge', 'Moving average of the milliseconds that packets wait in queues.'],
  derp_buffered_write_frames: ['counter', 'Frames that left with one write.'],
  derp_bytes_dropped: ['counter', 'Bytes of dropped packets, by reason and kind.'],
  derp_bytes_received: ['counter', 'Bytes of packets that clients have sent.'],
  derp_bytes_sent: ['counter', 'Bytes of packets that clients have got.'],
  derp_clients_local: ['gauge', 'Keys that are connected to this relay.'],
  derp_clients_remote: ['gauge', 'Keys that are connected to other relays of the mesh alone.'],
  derp_clients_total: ['gauge', 'Keys that are connected to a relay of the mesh.'],
  derp_current_connections: ['gauge', 'Connections of admitted clients.'],
  derp_current_dup_client_conns: ['gauge', 'Connections of keys that have more than one.'],
  derp_current_dup_client_keys: ['gauge', 'Keys that have more than one connection.'],
  derp_current_file_descriptors: ['gauge', 'Open file descriptors.'],
  derp_current_home_connections: ['gauge', 'Connections of clients whose home is this relay.'],
  derp_current_notideal_connections: ['gauge', 'Connections of clients that prefer another relay of the region.'],
  derp_got_ping: ['counter', 'Pings of clients.'],
  derp_home_moves_in: ['counter', 'Clients that made this relay their home.'],
  derp_home_moves_out: ['counter', 'Clients that made another relay their home.'],
  derp_memstats_sys0: ['gauge', 'Resident bytes of the process when the relay started.'],
  derp_mesh_update_batch_size: ['counter', 'Changes that mesh peers are told at once.'],
  derp_mesh_update_loop_count: ['counter', 'Batches of one dump for a mesh peer.'],
  derp_multiforwarder_created: ['counter', 'Keys that came to be at more than one other relay.'],
  derp_multiforwarder_deleted: ['counter', 'Keys that ceased to be at more than one other relay.'],
  derp_packet_forwarder_delete_other_value: [
    'counter',
    'Departures that another relay announced, of keys that were elsewhere.',
  ],
  derp_packets_dropped: ['counter', 'Dropped packets, by reason and kind.'],
  derp_packets_forwarded_in: ['counter', 'Packets from other relays of the mesh.'],
  derp_packets_forwarded_out: ['counter', 'Packets for other relays of the mesh.'],
  derp_packets_received: ['counter', 'Packets that clients have sent.'],
  derp_packets_received_kind: ['counter', 'Packets that clients have sent, by kind.'],
  derp_packets_sent: ['counter', 'Packets that clients have got.'],
  derp_peer_gone_disconnected_frames: ['counter', 'PeerGone frames about peers that have left.'],
  derp_peer_gone_not_here_frames: ['counter', 'PeerGone frames about peers that are not here.'],
  derp_rate_limit_per_client_burst_bytes: ['gauge', 'Bytes that a client may send at once, beyond its rate.'],
  derp_rate_limit_per_client_bytes_per_second: ['gauge', 'Bytes that a client may send each second.'],
  derp_rate_limit_per_client_waited: ['counter', 'How often a client had to wait for its receive limit.'],
  derp_sclient_write_timeouts: ['counter', 'Connections that ended because they took nothing for too long.'],
  derp_sent_pong: ['counter', 'Answers to pings.'],
  derp_tcp_rtt: ['counter', 'Samples of TCP round trips, by their length.'],
  derp_total_dup_client_conns: ['counter', 'Connections that came while their key had another one.'],
  derp_unknown_frames: ['counter', 'Frames of unknown types.'],
  derp_watchers: ['gauge', 'Mesh peers that are told of clients.'],
  derp_websocket_accepts: ['counter', 'WebSocket connections that became DERP.'],
  derper_tls_active_version: [
    'gauge',
    'Requests over TLS that are in progress, connections with DERP included, by version.',
  ],
  derper_tls_request_version: ['counter', 'Requests over TLS, by version.'],
  memstats_heap_alloc: ['gauge', "Bytes of JavaScript's heap that are in use."],
  memstats_sys: ['gauge', 'Resident bytes of the process.'],
  node_boot_time_seconds: ['gauge', 'When the machine started, in seconds since 1970.'],
  process_cpu_seconds_total: ['counter', 'Seconds of processor time, of the user and of the system.'],
  process_max_fds: ['gauge', 'File descriptors that may be open.'],
  process_network_receive_bytes_total: ['counter', 'Bytes that the network namespace has received.'],
  process_network_transmit_bytes_total: ['counter', 'Bytes that the network namespace has sent.'],
  process_open_fds: ['gauge', 'Open file descriptors.'],
  process_resident_memory_bytes: ['gauge', 'Resident bytes of the process.'],
  process_start_time_seconds: ['gauge', 'When the process started, in seconds since 1970.'],
  process_start_unix_time: ['gauge', 'When the process started, in seconds since 1970.'],
  process_virtual_memory_bytes: ['gauge', 'Bytes of address space.'],
  process_virtual_memory_max_bytes: ['gauge', 'Bytes of address space that there may be.'],
  stun_addrfamily: ['counter', 'STUN requests, by family of addresses.'],
  stun_no_local_addr: ['counter', 'STUN requests of which the system did not say where they arrived.'],
  stun_requests: ['counter', 'STUN requests, by what became of them.'],
  tls_listener_accepted_connections: ['counter', 'Connections that the TLS listener took.'],
  tls_listener_rejected_connections: ['counter', 'Connections beyond the accept limit.'],
  uptime_sec: ['counter', 'Seconds since the process started.'],
  version: ['gauge', 'The version of derpkit.'],
};

/** Metrics with a type and help for each. */
export function withHelp(families: readonly Family[]): Family[] {
  return families.map((family) => {
    const [type, help] = KNOWN[family.name] ?? [];
    return { ...family, type: family.type ?? type, help: family.help ?? help };
  });
}
