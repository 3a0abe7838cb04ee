/** All metrics, from the figures of the relay's parts; here those of derper, under derper's names. Pure. */
import { COUNTER_NAMES, DROP_REASONS, PACKET_KINDS, WRITE_FRAMES_BOUNDS } from '../plane/counters.js';
import type { HistogramFigures } from '../registry/figures.js';
import { derpkitMetrics } from './derpkit.js';
import { bare, type Entry, histogram, int, labels, set } from './exposition.js';
import type { LinuxFigures, MetricSources, TlsFigures } from './sources.js';

export function relayMetrics(sources: MetricSources): Entry[] {
  const { version, counters, bootstrap, process, tls } = sources;
  return [
    ['derp', set(derp(sources))],
    drops(counters, 'packets'),
    drops(counters, 'bytes'),
    ['derp_websocket_accepts', int(sources.webSocketAccepts)],
    ['stun', set(stun(counters))],
    ['counter_bootstrap_dns_requests', int(bootstrap.requests)],
    ['counter_bootstrap_dns_published_hits', int(bootstrap.publishedHits)],
    ['counter_bootstrap_dns_published_misses', int(bootstrap.publishedMisses)],
    ['counter_bootstrap_dns_unpublished_hits', int(bootstrap.unpublishedHits)],
    ['counter_bootstrap_dns_unpublished_misses', int(bootstrap.unpublishedMisses)],
    ['counter_bootstrap_dns_unpublished_percent_misses', int(bootstrap.unpublishedPercentMisses)],
    ['counter_bootstrap_dns_queried_domains', bare(bootstrap.queriedDomains)],
    ...(tls ? tlsMetrics(tls, counters) : []),
    ['counter_uptime_sec', bare(process.uptime)],
    ['process_start_unix_time', bare(process.startedAt)],
    ['node_boot_time_seconds', bare(process.bootedAt)],
    ['version', { kind: 'info', text: version, labels: { version, binary: 'derper' } }],
    ...derpkitMetrics(sources),
    // The process metrics of Prometheus' own client libraries.
    ['counter_process_cpu_seconds_total', bare(process.cpuSeconds)],
    ['gauge_process_open_fds', bare(process.openFiles)],
    ['gauge_process_resident_memory_bytes', bare(process.residentBytes)],
    ['gauge_process_start_time_seconds', bare(process.startedAt)],
    ...(process.linux ? linux(process.linux) : []),
    ['gauge_memstats_heap_alloc', bare(process.heapBytes)],
    ['gauge_memstats_sys', bare(process.residentBytes)],
  ];
}

function linux({ maxOpenFiles, virtualBytes, maxVirtualBytes, networkBytes }: LinuxFigures): Entry[] {
  return [
    ['gauge_process_max_fds', bare(maxOpenFiles)],
    ['counter_process_network_receive_bytes_total', bare(networkBytes.received)],
    ['counter_process_network_transmit_bytes_total', bare(networkBytes.sent)],
    ['gauge_process_virtual_memory_bytes', bare(virtualBytes)],
    ['gauge_process_virtual_memory_max_bytes', bare(maxVirtualBytes)],
  ];
}

function derp({ version, counters, clients, rateLimit, process }: MetricSources): Entry[] {
  const disco = counters['packets_received:disco'];
  const other = counters['packets_received:other'];
  return [
    ['accepts', int(counters.accepts)],
    ['average_queue_duration_ms', bare(counters.queue_time / 1e6)],
    ['bytes_received', int(counters.bytes_received)],
    ['bytes_sent', int(counters.bytes_sent)],
    ['counter_buffered_write_frames', histogram(writeFrames(counters))],
    ['counter_mesh_update_batch_size', histogram(clients.meshBatches)],
    ['counter_mesh_update_loop_count', histogram(clients.meshLoops)],
    ['counter_packets_received_kind', labels('kind', { disco, other })],
    ['counter_tcp_rtt', labels('le', roundTrips(counters))],
    ['counter_total_dup_client_conns', int(clients.dupConnectionsEver)],
    ['gauge_clients_local', bare(clients.localKeys)],
    ['gauge_clients_remote', bare(clients.totalKeys - clients.localKeys)],
    ['gauge_clients_total', bare(clients.totalKeys)],
    ['gauge_current_connections', int(clients.connections)],
    ['gauge_current_dup_client_conns', int(clients.dupConnections)],
    ['gauge_current_dup_client_keys', int(clients.dupKeys)],
    ['gauge_current_file_descriptors', bare(process.openFiles)],
    ['gauge_current_home_connections', int(clients.home)],
    ['gauge_current_notideal_connections', int(clients.notIdeal)],
    ['gauge_memstats_sys0', bare(process.residentBytesAtStart)],
    ['gauge_watchers', bare(clients.watchers)],
    ['got_ping', int(counters.got_ping)],
    ['home_moves_in', int(clients.homeMovesIn)],
    ['home_moves_out', int(clients.homeMovesOut)],
    ['multiforwarder_created', int(clients.multiCreated)],
    ['multiforwarder_deleted', int(clients.multiDeleted)],
    ['packet_forwarder_delete_other_value', int(clients.deleteOther)],
    ['packets_forwarded_in', int(counters.packets_forwarded_in)],
    ['packets_forwarded_out', int(counters.packets_forwarded_out)],
    ['packets_received', int(disco + other)],
    ['packets_sent', int(counters.packets_sent)],
    ['peer_gone_disconnected_frames', int(counters.peer_gone_disconnected_frames)],
    ['peer_gone_not_here_frames', int(counters.peer_gone_not_here_frames)],
    ...(rateLimit
      ? ([
          ['rate_limit_per_client_burst_bytes', bare(rateLimit.burst)],
          ['rate_limit_per_client_bytes_per_second', bare(rateLimit.bytesPerSecond)],
          ['rate_limit_per_client_waited', int(counters.rate_limit_waits)],
        ] as const)
      : []),
    ['sclient_write_timeouts', int(counters.write_timeouts)],
    ['sent_pong', int(counters.sent_pong)],
    ['unknown_frames', int(counters.unknown_frames)],
    ['version', { kind: 'info', text: version, labels: {} }],
  ];
}

function writeFrames(counters: MetricSources['counters']): HistogramFigures {
  return {
    bounds: WRITE_FRAMES_BOUNDS,
    counts: [...WRITE_FRAMES_BOUNDS, 'more' as const].map((bound) => counters[`write_frames:${bound}`]),
    sum: counters.frames_written,
  };
}

/** As in derper, a bucket without samples has no row. */
function roundTrips(counters: MetricSources['counters']): Record<string, number> {
  const names = COUNTER_NAMES.filter((name) => name.startsWith('tcp_rtt:') && counters[name] > 0);
  const rows = names.map((name) => [name.slice('tcp_rtt:'.length).replace('_', '-'), counters[name]] as const);
  return Object.fromEntries([...rows].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function stun(counters: MetricSources['counters']): Entry[] {
  const request = (disposition: 'not_stun' | 'read_error' | 'success' | 'write_error') =>
    counters[`stun_requests:${disposition}`];
  const dispositions = ['not_stun', 'read_error', 'success', 'write_error'] as const;
  const rows = Object.fromEntries(dispositions.map((disposition) => [disposition, request(disposition)]));
  const { 'stun_addrfamily:ipv4': ipv4, 'stun_addrfamily:ipv6': ipv6 } = counters;
  return [
    ['counter_addrfamily', labels('family', { ipv4, ipv6 })],
    ['counter_no_local_addr', int(counters.stun_no_local_addr)],
    ['counter_requests', labels('disposition', rows)],
  ];
}

function drops(counters: MetricSources['counters'], what: 'packets' | 'bytes'): Entry {
  const rows = [...DROP_REASONS]
    .sort()
    .flatMap((reason) =>
      PACKET_KINDS.map((kind) => ({ of: [reason, kind], value: counters[`${what}_dropped:${reason}:${kind}`] })),
    );
  const table = { kind: 'table', type: 'counter', labels: ['reason', 'kind'], rows } as const;
  return [`derp_${what}_dropped`, table, `DERP ${what} dropped by reason and by kind`];
}

/** As in derper, a TLS version without requests has no row. */
function tlsMetrics({ requests, active }: TlsFigures, counters: MetricSources['counters']): Entry[] {
  const spoken = Object.keys(requests).filter((version) => requests[version]);
  const rows = (of: Readonly<Record<string, number>>) =>
    labels('version', Object.fromEntries(spoken.map((version) => [version, of[version] ?? 0])));
  return [
    ['derper_tls_request_version', rows(requests)],
    ['gauge_derper_tls_active_version', rows(active)],
    [
      'tls_listener',
      set([
        ['counter_accepted_connections', int(counters.tls_accepts)],
        ['counter_rejected_connections', int(counters.tls_rejects)],
      ]),
    ],
  ];
}
