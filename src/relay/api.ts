/** The interface of a relay for programs that embed it. */
import type { EventEmitter } from 'node:events';
import type { RelayConfig } from '../config.js';
import type { DnsHook } from '../control/acme/dns-hook.js';
import type { AdmissionFigures } from '../control/admission/figures.js';
import type { OnAdmit } from '../control/admission/hook.js';
import type { MeshSourceStatus } from '../control/mesh/discovery.js';
import type { MeshStatus } from '../control/mesh.js';
import type { DerpkitError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Counters } from '../plane/counter-figures.js';
import type { CloseReason, PeerAddress, PlaneKind } from '../plane/plane.js';
import type { ClientStatus } from '../registry/client-status.js';
import type { RelayFigures } from '../registry/figures.js';
import type { RegionStatus } from './on-demand.js';

export type { AdmitClient, AdmitDecision, OnAdmit } from '../control/admission/hook.js';

/** Options of a relay that are code and not settings. */
export interface RelayOptions {
  /** Decides about each client that the settings admit, and again at each recheck. Default: none. */
  readonly onAdmit?: OnAdmit;
  /** The logger of the relay. Default: its own, which writes to standard error as `logFormat` and `logLevel` say. */
  readonly logger?: Logger;
  /** Sets and removes TXT records for the ACME challenge DNS-01. Default: the command of `acme.dns.exec`, if there is one. */
  readonly dnsHook?: DnsHook;
  /** Sockets that are open already, in place of those that settings name. Default: none. */
  readonly sockets?: InheritedSockets;
}

/**
 * Sockets that another program, such as a service manager, has opened for the relay, by their descriptors. The relay takes
 * them for as long as the process lives.
 */
export interface InheritedSockets {
  /** A TCP socket that listens, in place of `listen`. */
  readonly derp?: number;
  /** A TCP socket that listens, in place of `httpPort`, for plain HTTP beside TLS. */
  readonly http?: number;
  /** A UDP socket, in place of `stunPort`. */
  readonly stun?: number;
  /** A TCP socket that listens, in place of `metrics.listen`. */
  readonly metrics?: number;
}

/** The addresses of a started relay. */
export interface RelayAddress {
  /** The relay's own listener. */
  readonly derp: Endpoint & {
    /** Whether it speaks TLS. */
    readonly tls: boolean;
  };
  /** Plain HTTP beside TLS; absent if the relay serves none. */
  readonly http?: Endpoint;
  /** STUN over UDP; absent if the relay serves none. */
  readonly stun?: Endpoint;
  /** Metrics and health checks; absent if the relay has no listener for them. */
  readonly metrics?: Endpoint;
}

/** The address of a listener. */
export interface Endpoint {
  /** The IP address that it is bound to; `::` or `0.0.0.0` for every address. */
  readonly address: string;
  /** The port that it is bound to; never 0, even if the settings ask for any free port. */
  readonly port: number;
}

/** An admitted client. */
export interface ClientConnected {
  /** Number of the connection. Later connections have higher numbers; a relay never reuses one. */
  readonly id: number;
  /** The client's public key, `nodekey:` and 64 hex digits. One key may have several connections. */
  readonly key: string;
  /** The address of the client. */
  readonly peer: PeerAddress;
  /** Whether the client is a mesh peer: it has presented the mesh key. */
  readonly mesh: boolean;
}

/** The end of an admitted client's connection. */
export interface ClientDisconnected {
  /** Number of the connection, as in its `connected`. */
  readonly id: number;
  /** The client's public key, `nodekey:` and 64 hex digits. */
  readonly key: string;
  /** Why the connection ended. */
  readonly reason: CloseReason;
}

/** The events of a relay, with the arguments of each handler. The relay logs an exception of a handler and goes on. */
export interface RelayEvents {
  /** A client was admitted. Exactly one `disconnected` with its `id` follows. */
  connected: [ClientConnected];
  /**
   * The connection of an admitted client has ended. When `close` resolves, the relay has emitted this for every client.
   */
  disconnected: [ClientDisconnected];
  /** The plane has failed and closed every connection: `close` the relay, and create another. */
  fault: [DerpkitError];
}

/** The data plane of a relay. */
export interface RelayPlane {
  /** The implementation. */
  readonly kind: PlaneKind;
  /** Why it was selected, as text; for the native plane, it includes the path of the addon. */
  readonly reason: string;
  /** True if the setting is `auto` and the relay uses the JavaScript plane because the native one could not serve. */
  readonly fallback?: boolean;
}

/** What a reload has found. */
export interface ReloadReport {
  /** The names of settings that have changed, and are in force now. */
  readonly applied: readonly string[];
  /** The names of settings that have changed, and take a restart. */
  readonly needRestart: readonly string[];
}

/**
 * A relay: `createRelay` makes it, `start` opens it once, `close` ends it.
 *
 * `reload`, `admission`, `counters`, `figures`, `mesh`, `meshSources` and `region` need a running relay. Before `start` and after `close` has
 * resolved, they throw a `DerpkitError` with the code `ERR_STATE`; `reload` rejects with it. After a failed `start`
 * they do, too. Handlers of events may call them.
 */
export interface Relay extends EventEmitter<RelayEvents>, AsyncDisposable {
  /**
   * The data plane. It can change during `start`, if the setting `plane` is `auto` and the native plane cannot serve.
   */
  readonly plane: RelayPlane;
  /** The logger: that of `RelayOptions`, or the relay's own. */
  readonly logger: Logger;
  /**
   * The directory for files that the relay makes, unless a setting names another place. Reading it throws a `ConfigError` if
   * `dataDir` is not set and the user has no home directory.
   */
  readonly dataDir: string;
  /** The addresses of the relay; `undefined` until `start` has resolved. */
  readonly address: RelayAddress | undefined;
  /** The relay's public key, `nodekey:` and 64 hex digits; `undefined` until `start` has resolved. */
  readonly publicKey: string | undefined;
  /**
   * SHA-256 of the first leaf certificate that the relay serves: 64 lower-case hex digits. `undefined` if it serves
   * none, and while it does not run.
   */
  readonly fingerprint: string | undefined;
  /**
   * Loads or makes keys and certificates, and opens the listeners.
   *
   * Rejects with a `ConfigError` that lists every problem with the files that the settings name, or what the plane
   * cannot serve; with a `ListenError` if a listener cannot be opened; and with `ERR_STATE` if `start` or `close` was
   * called before, or `close` is called meanwhile. Nothing stays open then.
   */
  start(): Promise<void>;
  /**
   * Prepares the end of a relay with a source in `mesh.discover`, or with `mesh.mode: 'on-demand'`: `/derp/probe` and `/readyz`
   * answer 503, and sources withdraw the relay, so that balancers and other relays look elsewhere. The relay serves on, and
   * resolves after `mesh.drainDelay`, or when `close` is called. Any other relay resolves at once. Throws `ERR_STATE` before `start` and after `close`.
   */
  drain(): Promise<void>;
  /**
   * Closes listeners and connections; resolves when all are closed. It may be called at any time, and more than once. A
   * closed relay cannot start again.
   */
  close(): Promise<void>;
  /**
   * A sign of life: resolves when every thread that moves packets has made a turn, and stays unresolved where one of them
   * hangs. Throws `ERR_STATE` before `start` and after `close`.
   */
  pulse(): Promise<void>;
  /** Whether the settings name files that `reload` can read. */
  readonly reloads: boolean;
  /**
   * Reads the rate file, lists of keys, files with headers, and certificates again, where there are any. Rejects if one of
   * them cannot be used, for which what was read before still holds; the others are in force. Rejects with `ERR_STATE` before
   * `start` and after `close`.
   *
   * With `config`, all settings of the relay anew, those that have changed and can be applied while the relay runs are: of
   * admission (every connected client is asked about again), certificates, rate limits, `debug*`, `proberDebugLogs`,
   * `verboseDrops`, and `logLevel`, which does not change a `logger` of your own. The relay warns of other changes. Rejects with
   * a `ConfigError`, and changes nothing, if the settings or a file that they newly name cannot be used.
   */
  reload(config?: RelayConfig): Promise<ReloadReport>;
  /** Whether every client may use the relay: neither a setting nor `onAdmit` restricts admission. */
  readonly admitsEverybody: boolean;
  /**
   * Figures of admission; `undefined` if every client is admitted. Throws `ERR_STATE` before `start` and after `close`.
   */
  admission(): AdmissionFigures | undefined;
  /** The current counters of the plane. Throws `ERR_STATE` before `start` and after `close`. */
  counters(): Counters;
  /** Current figures about connected clients. Throws `ERR_STATE` before `start` and after `close`. */
  figures(): RelayFigures;
  /**
   * Every connection, with what it has sent and got, in the order of connecting. The relay goes on with other work in between: a
   * connection that comes or goes meanwhile may be missing, one that stays is there once. Throws `ERR_STATE` before `start` and
   * after `close`.
   */
  clients(): AsyncIterable<ClientStatus>;
  /**
   * The relays of the mesh: those of the settings in their order, then those that were found. Throws `ERR_STATE` before
   * `start` and after `close`.
   */
  mesh(): MeshStatus[];
  /** The sources of `mesh.discover`, in their order. Throws `ERR_STATE` before `start` and after `close`. */
  meshSources(): MeshSourceStatus[];
  /**
   * How the relay finds keys on demand; `undefined` in the mode `full`. Throws `ERR_STATE` before `start` and after `close`.
   */
  region(): RegionStatus | undefined;
}
