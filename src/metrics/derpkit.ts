/** The metrics that derper has none of. Their names, unlike derper's, follow the rules of Prometheus. Pure. */
import { FAILURE_COUNTERS } from '../plane/counters.js';
import { certificateMetrics } from './certificates.js';
import { bare, type Entry, histogram, int, labels } from './exposition.js';
import { meshMetrics } from './mesh.js';
import { regionMetrics } from './region.js';
import type { AdmissionFigures, MetricSources } from './sources.js';

export function derpkitMetrics(sources: MetricSources): Entry[] {
  const { version, plane, counters, strangers } = sources;
  const info = { kind: 'info', text: plane, labels: { version, plane } } as const;
  return [
    ['gauge_derpkit_build_info', info, 'The version of derpkit, and its data plane.'],
    [
      'counter_derpkit_handshakes_failed_total',
      labels('reason', failures(counters, 'handshakes_failed')),
      'TLS handshakes that came to nothing.',
    ],
    [
      'counter_derpkit_requests_failed_total',
      labels('reason', requestFailures(sources)),
      'HTTP requests that came to nothing, or were refused for what they are.',
    ],
    [
      'counter_derpkit_logins_failed_total',
      labels('reason', failures(counters, 'logins_failed')),
      'Logins that came to nothing.',
    ],
    [
      'counter_derpkit_wrong_mesh_keys_total',
      int(sources.wrongMeshKeys),
      'Clients that showed a mesh key that is not the one of this relay.',
    ],
    [
      'counter_derpkit_connections_refused_total',
      int(counters.connections_refused),
      'Connections that the data plane refused because a limit was reached.',
    ],
    [
      'counter_derpkit_faults_total',
      int(sources.faults),
      'Failures of handlers and refusals of the system that the relay survived.',
    ],
    [
      'counter_derpkit_strangers_evicted_total',
      labels('full', strangers.evicted),
      'Connections that are not admitted, or speak HTTP, and made room for a newcomer.',
    ],
    [
      'counter_derpkit_strangers_refused_total',
      labels('full', strangers.refused),
      'Connections that are not admitted, or speak HTTP, and were refused because none could make room.',
    ],
    [
      'counter_derpkit_egress_contended_total',
      int(counters.egress_contended),
      "Packets that a worker left to the worker that held a connection's lock.",
    ],
    [
      'counter_derpkit_lookups_total',
      labels('what', lookups(counters)),
      'Keys that the data plane asked for and that are nowhere, and packets that it dropped without asking.',
    ],
    ...budgets(sources),
    ...meshMetrics(sources.mesh, sources.meshSources),
    ...(sources.region ? regionMetrics(sources.region) : []),
    ...(sources.admission ? admission(sources.admission) : []),
    ...certificateMetrics(sources.certificates),
  ];
}

/** Lookups of keys that are not connected here; all 0 while the relay does not look for any. */
function lookups(counters: MetricSources['counters']): Record<string, number> {
  return {
    asked: counters['lookups:asked'],
    crowded: counters['lookups:crowded'],
    evicted: counters['lookups:evicted'],
    limited: counters['lookups:limited'],
    missed: counters['lookups:missed'],
    missing: counters['lookups:missing'],
    share: counters['lookups:share'],
  };
}

/** What counts against the limits over all connections, and how often each of them was exceeded. */
function budgets({ counters, mesh }: MetricSources): Entry[] {
  const bytes = { partial: counters['held:partial_bytes'], queued: counters['held:queued_bytes'] };
  const keys = mesh.reduce((sum, { peers }) => sum + peers, 0);
  const over = {
    mesh_keys: mesh.reduce((sum, { passedOver }) => sum + passedOver, 0),
    partial_bytes: counters['over_budget:partial_bytes'],
    peer_gone_pairs: counters['over_budget:peer_gone_pairs'],
    queued_bytes: counters['over_budget:queued_bytes'],
  };
  return [
    ['gauge_derpkit_held_bytes', labels('what', bytes), 'Bytes of partial frames, and bytes that wait to be sent.'],
    ['gauge_derpkit_held_mesh_keys', bare(keys), 'Keys that the relays of the mesh have announced.'],
    [
      'gauge_derpkit_held_peer_gone_pairs',
      bare(counters['held:peer_gone_pairs']),
      'Pairs of a client and a peer whose departure it is told.',
    ],
    [
      'counter_derpkit_over_budget_total',
      labels('what', over),
      'How often a limit over all connections was exceeded, and its largest holder paid.',
    ],
  ];
}

function admission({ outcomes: rows, times }: AdmissionFigures): Entry[] {
  const table = { kind: 'table', type: 'counter', labels: ['verifier', 'outcome'], rows } as const;
  return [
    ['derpkit_admission_decisions_total', table, 'Decisions about clients, by verifier and outcome.'],
    ['derpkit_admission_seconds', histogram(times), 'How long verifiers take to answer.'],
  ];
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
