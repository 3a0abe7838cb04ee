/** What the metrics of a relay are made of. */
import type { CounterName } from '../plane/counters.js';
import type { HistogramFigures, RelayFigures } from '../registry/figures.js';
import type { CertificateFigures } from './certificates.js';
import type { MeshFigures, MeshSourceFigures } from './mesh.js';
import type { RegionFigures } from './region.js';

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
  /** Absent if the relay does not find keys on demand. */
  readonly region: RegionFigures | undefined;
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
