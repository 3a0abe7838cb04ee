/** derper's metrics under derper's names, from the figures of the relay's parts. Pure. */
import {
  COUNTER_NAMES,
  type CounterName,
  DROP_REASONS,
  FAILURE_COUNTERS,
  PACKET_KINDS,
  WRITE_FRAMES_BOUNDS,
} from '../plane/counters.js';
import type { HistogramFigures, RelayFigures } from '../registry/figures.js';
import { type CertificateFigures, certificateMetrics } from './certificates.js';
import { bare, type Entry, histogram, int, labels, set, type Value } from './exposition.js';
import { type MeshFigures, type MeshSourceFigures, meshMetrics } from './mesh.js';

export interface MetricSources {
  readonly version: string;
  readonly plane: 'js' | 'native';
  readonly counters: Readonly<Record<CounterName, number>>;
  readonly clients: RelayFigures;
  readonly webSocketAccepts: number;
  /** Unadmitted connections that were evicted or refused, by what was full. */
  readonly strangers: Record<'evicted' | 'refused', Readonly<Record<string, number>>>;
  /** Requests that the HTTP server has refused, by reason. */
  readonly requestFailures: Readonly<Record<string, number>>;
  /** Clients that showed a mesh key that is not the relay's. */
  readonly wrongMeshKeys: number;
  readonly bootstrap: BootstrapFigures;
  /** On TLS relays only: requests in total and in progress, by TLS version. */
  readonly tls: TlsFigures | undefined;
  /** Only with a rate file; zeros if it sets no limit. */
  readonly rateLimit: { readonly bytesPerSecond: number; readonly burst: number } | undefined;
  /** The relays that this one dials; without any, there are no mesh metrics. */
  readonly mesh: readonly MeshFigures[];
  /** The sources of `mesh.discover`. */
  readonly meshSources: readonly MeshSourceFigures[];
  /** Absent if every client is admitted; there are no admission metrics then. */
  readonly admission: AdmissionFigures | undefined;
  /** Names that have a certificate, or failed to get one. */
  readonly certificates: readonly CertificateFigures[];
  readonly faults: number;
  readonly process: ProcessFigures;
}

export interface AdmissionFigures {
  readonly outcomes: readonly { readonly of: readonly string[]; readonly value: number }[];
  /** In seconds. */
  readonly times: HistogramFigures;
}

export interface TlsFigures {
  readonly requests: Readonly<Record<string, number>>;
  readonly active: Readonly<Record<string, number>>;
}

export interface BootstrapFigures {
  readonly requests: number;
  readonly publishedHits: number;
  readonly publishedMisses: number;
  readonly unpublishedHits: number;
  readonly unpublishedMisses: number;
  readonly unpublishedPercentMisses: number;
  readonly queriedDomains: number;
}

export interface ProcessFigures {
  /** In seconds since 1970. */
  readonly startedAt: number;
  /** When the machine booted, in seconds since 1970. */
  readonly bootedAt: number;
  readonly uptime: number;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  readonly residentBytesAtStart: number;
  readonly heapBytes: number;
  /** 0 if the system does not tell. */
  readonly openFiles: number;
  /** Figures that only Linux provides. */
  readonly linux: LinuxFigures | undefined;
}

export interface LinuxFigures {
  readonly maxOpenFiles: number;
  readonly virtualBytes: number;
  readonly maxVirtualBytes: number;
  /** Bytes of the whole network namespace. */
  readonly networkBytes: { readonly received: number; readonly sent: number };
}

export function derperMetrics(sources: MetricSources): Entry[] {
  const { version, counters, bootstrap, process, tls } = sources;
  return [
    ['derp', set(derp(sources))],
    ['derp_packets_dropped', drops(counters, 'packets')],
    ['derp_bytes_dropped', drops(counters, 'bytes')],
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
    ...meshMetrics(sources.mesh, sources.meshSources),
    ...(sources.admission ? admission(sources.admission) : []),
    ...certificateMetrics(sources.certificates),
    ['counter_uptime_sec', bare(process.uptime)],
    ['process_start_unix_time', bare(process.startedAt)],
    ['node_boot_time_seconds', bare(process.bootedAt)],
    ['version', { kind: 'info', text: version, labels: { version, binary: 'derper' } }],
    ['derpkit_plane', { kind: 'info', text: sources.plane, labels: { plane: sources.plane } }],
    ['counter_derpkit_handshakes_failed', labels('reason', failures(counters, 'handshakes_failed'))],
    ['counter_derpkit_requests_failed', labels('reason', requestFailures(sources))],
    ['counter_derpkit_logins_failed', labels('reason', failures(counters, 'logins_failed'))],
    ['counter_derpkit_wrong_mesh_keys', int(sources.wrongMeshKeys)],
    ['counter_derpkit_connections_refused', int(counters.connections_refused)],
    ['counter_derpkit_faults', int(sources.faults)],
    ['counter_derpkit_strangers_evicted', labels('full', sources.strangers.evicted)],
    ['counter_derpkit_strangers_refused', labels('full', sources.strangers.refused)],
    ['counter_derpkit_egress_contended', int(counters.egress_contended)],
    ['gauge_derpkit_held', labels('what', held(sources))],
    ['counter_derpkit_over_budget', labels('what', overBudget(sources))],
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
  return sorted(rows);
}

function admission({ outcomes, times }: AdmissionFigures): Entry[] {
  const help = 'decisions about clients, by verifier and outcome';
  return [
    ['derpkit_admission', { kind: 'table', type: 'counter', help, labels: ['verifier', 'outcome'], rows: outcomes }],
    ['derpkit_admission_seconds', histogram(times)],
  ];
}

/** What counts against the limits over all connections, and the keys of the mesh. */
function held({ counters, mesh }: MetricSources): Record<string, number> {
  return {
    mesh_keys: mesh.reduce((sum, { peers }) => sum + peers, 0),
    partial_bytes: counters['held:partial_bytes'],
    peer_gone_pairs: counters['held:peer_gone_pairs'],
    queued_bytes: counters['held:queued_bytes'],
  };
}

/** How often each limit over all connections was exceeded. */
function overBudget({ counters, mesh }: MetricSources): Record<string, number> {
  return {
    mesh_keys: mesh.reduce((sum, { passedOver }) => sum + passedOver, 0),
    partial_bytes: counters['over_budget:partial_bytes'],
    peer_gone_pairs: counters['over_budget:peer_gone_pairs'],
    queued_bytes: counters['over_budget:queued_bytes'],
  };
}

/** What the plane counts of one kind, by reason. */
function failures(counters: MetricSources['counters'], kind: string): Record<string, number> {
  const names = FAILURE_COUNTERS.filter((name) => name.startsWith(`${kind}:`));
  return sorted(names.map((name) => [name.slice(kind.length + 1), counters[name]] as const));
}

/** Heads that the plane has waited for in vain, and requests that the HTTP server has refused. */
function requestFailures({ counters, requestFailures }: MetricSources): Record<string, number> {
  const all = failures(counters, 'requests_failed');
  for (const [reason, count] of Object.entries(requestFailures)) all[reason] = (all[reason] ?? 0) + count;
  return sorted(Object.entries(all));
}

function sorted(rows: readonly (readonly [string, number])[]): Record<string, number> {
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

function drops(counters: MetricSources['counters'], what: 'packets' | 'bytes'): Value {
  const rows = [...DROP_REASONS]
    .sort()
    .flatMap((reason) =>
      PACKET_KINDS.map((kind) => ({ of: [reason, kind], value: counters[`${what}_dropped:${reason}:${kind}`] })),
    );
  const help = `DERP ${what} dropped by reason and by kind`;
  return { kind: 'table', type: 'counter', help, labels: ['reason', 'kind'], rows };
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
