/** Metrics of `/debug/varz`, by derper’s names. The interop suite holds these lists to what both relays print. */
import type { Row } from './table.ts';

const THERE = `
  bootstrap_dns_published_hits
  bootstrap_dns_published_misses
  bootstrap_dns_queried_domains
  bootstrap_dns_requests
  bootstrap_dns_unpublished_hits
  bootstrap_dns_unpublished_misses
  bootstrap_dns_unpublished_percent_misses
  derp_accepts
  derp_bytes_dropped
  derp_bytes_received
  derp_bytes_sent
  derp_clients_local
  derp_clients_remote
  derp_clients_total
  derp_current_connections
  derp_current_dup_client_conns
  derp_current_dup_client_keys
  derp_current_file_descriptors
  derp_current_home_connections
  derp_current_notideal_connections
  derp_got_ping
  derp_home_moves_in
  derp_home_moves_out
  derp_memstats_sys0
  derp_multiforwarder_created
  derp_multiforwarder_deleted
  derp_packet_forwarder_delete_other_value
  derp_packets_dropped
  derp_packets_forwarded_in
  derp_packets_forwarded_out
  derp_packets_received
  derp_packets_received_kind
  derp_packets_sent
  derp_peer_gone_disconnected_frames
  derp_peer_gone_not_here_frames
  derp_rate_limit_per_client_burst_bytes
  derp_rate_limit_per_client_bytes_per_second
  derp_rate_limit_per_client_waited
  derp_sclient_write_timeouts
  derp_sent_pong
  derp_total_dup_client_conns
  derp_unknown_frames
  derp_watchers
  derp_websocket_accepts
  derper_tls_request_version
  memstats_heap_alloc
  memstats_sys
  node_boot_time_seconds
  process_cpu_seconds_total
  process_open_fds
  process_resident_memory_bytes
  process_start_time_seconds
  process_start_unix_time
  stun_addrfamily
  stun_requests
  tls_listener_accepted_connections
  tls_listener_rejected_connections
  uptime_sec
  version
`;

const FIGURES = 'conformance/metrics.spec.ts#';
const PROCESS = 'unit/metrics/process.spec.ts#';

/** Metrics with tests of their own, or with a note. */
const MORE: readonly Row[] = [
  {
    name: 'derp_average_queue_duration_ms',
    test: `${FIGURES}the metrics average how long packets wait`,
    note: 'a packet that passes without a queue counts as one that has not waited',
  },
  {
    name: 'derp_buffered_write_frames',
    test: `${FIGURES}the metrics count the frames of each write, but none of the login`,
    note: 'frames that left with one write of a socket, which is what we have in place of a buffer that is flushed',
  },
  {
    name: 'derp_mesh_update_batch_size',
    test: `${FIGURES}the metrics count the frames for mesh peers, and their batches`,
    note: 'a change is told at once, and is a batch of one; a dump comes in batches of up to 500',
  },
  {
    name: 'derp_mesh_update_loop_count',
    test: `${FIGURES}the metrics count the frames for mesh peers, and their batches`,
    note: 'batches of one dump',
  },
  {
    name: 'derp_tcp_rtt',
    test: `${FIGURES}the metrics count round trips of TCP`,
    note: 'no rows on the JavaScript plane, as derper has none beside Linux: Node does not tell',
  },
  { name: 'derper_tls_active_version', test: `${FIGURES}the metrics count clients over` },
  { name: 'process_max_fds', test: `${PROCESS}the metrics have the limits of the process, as the shell shows them` },
  {
    name: 'process_network_receive_bytes_total',
    test: `${PROCESS}the metrics have the network traffic of the process`,
  },
  {
    name: 'process_network_transmit_bytes_total',
    test: `${PROCESS}the metrics have the network traffic of the process`,
  },
  { name: 'process_virtual_memory_bytes', test: `${PROCESS}the metrics have the virtual memory of the process` },
  {
    name: 'process_virtual_memory_max_bytes',
    test: `${PROCESS}the metrics have the limits of the process, as the shell shows them`,
  },
  {
    name: 'stun_no_local_addr',
    test: 'interop/parity.spec.ts#the metrics are those of /debug/varz, with their types',
    note: 'always 0 on the JavaScript plane, which cannot ask the system',
  },
];

/** Of Go’s runtime. */
const NEVER = `
  go_gc_duration_seconds
  go_gc_gogc_percent
  go_gc_gomemlimit_bytes
  go_goroutines
  go_info
  go_memstats_alloc_bytes
  go_memstats_alloc_bytes_total
  go_memstats_buck_hash_sys_bytes
  go_memstats_frees_total
  go_memstats_gc_sys_bytes
  go_memstats_heap_alloc_bytes
  go_memstats_heap_idle_bytes
  go_memstats_heap_inuse_bytes
  go_memstats_heap_objects
  go_memstats_heap_released_bytes
  go_memstats_heap_sys_bytes
  go_memstats_last_gc_time_seconds
  go_memstats_mallocs_total
  go_memstats_mcache_inuse_bytes
  go_memstats_mcache_sys_bytes
  go_memstats_mspan_inuse_bytes
  go_memstats_mspan_sys_bytes
  go_memstats_next_gc_bytes
  go_memstats_other_sys_bytes
  go_memstats_stack_inuse_bytes
  go_memstats_stack_sys_bytes
  go_memstats_sys_bytes
  go_runtime_cpu_classes_gc_total_cpu_seconds_total
  go_runtime_cpu_classes_total_cpu_seconds_total
  go_runtime_gc_heap_live_bytes
  go_runtime_sched_latencies_seconds
  go_runtime_sched_pauses_total_gc_seconds
  go_runtime_sched_threads_total_threads
  go_runtime_sync_mutex_wait_total_seconds_total
  go_sched_gomaxprocs_threads
  go_threads
  go_version
  goamd64_capable
  goamd64_compiled
  goroutines
  memstats_frees
  memstats_gc_cpu_fraction
  memstats_mallocs
  memstats_num_gc
  memstats_total_alloc
`;

const TEST = 'interop/parity.spec.ts#the metrics are those of /debug/varz, with their types';

const names = (list: string) => list.trim().split(/\s+/);

export const METRICS: readonly Row[] = [
  ...names(THERE).map((name) => ({ name, test: TEST })),
  ...MORE,
  ...names(NEVER).map((name) => ({ name, never: true as const })),
].sort((a, b) => (a.name < b.name ? -1 : 1));
