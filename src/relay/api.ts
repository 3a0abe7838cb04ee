/** What a relay is to those that embed it. */
import type { EventEmitter } from 'node:events';
import type { RelayConfig } from '../config.js';
import type { DnsHook } from '../control/acme/dns-hook.js';
import type { AdmissionFigures } from '../control/admission/figures.js';
import type { OnAdmit } from '../control/admission/hook.js';
import type { MeshStatus } from '../control/mesh.js';
import type { DerpkitError } from '../errors.js';
import type { Logger } from '../logger.js';
import type { Counters } from '../plane/counter-figures.js';
import type { CloseReason, PeerAddress, PlaneKind } from '../plane/plane.js';
import type { ClientStatus } from '../registry/client-status.js';
import type { RelayFigures } from '../registry/figures.js';

export type { AdmitClient, AdmitDecision, OnAdmit } from '../control/admission/hook.js';

/** What of a relay is code, not a setting. */
export interface RelayOptions {
  /** Decides about each client that the settings let in, and again whenever they are asked about it. Default: none. */
  readonly onAdmit?: OnAdmit;
  /** Where the relay logs to. Default: its own logger, to standard error, as `logFormat` and `logLevel` say. */
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
}

/** Where a started relay can be reached. */
export interface RelayAddress {
  /** The relay's own listener. */
  readonly derp: Endpoint & {
    /** Whether it speaks TLS. */
    readonly tls: boolean;
  };
  /** Plain HTTP beside TLS; absent where there is none. */
  readonly http?: Endpoint;
  /** STUN, over UDP; absent where there is none. */
  readonly stun?: Endpoint;
}

/** One end that listens. */
export interface Endpoint {
  /** The IP address that it is bound to; `::` or `0.0.0.0` is every address. */
  readonly address: string;
  /** The port that it is bound to, also where the settings ask for any free one. */
  readonly port: number;
}

/** A client that was let in. */
export interface ClientConnected {
  /** Number of the connection, in the order that connections came; never used twice in a relay's life. */
  readonly id: number;
  /** The client's public key, `nodekey:` and 64 hex digits. One key may have several connections. */
  readonly key: string;
  /** Where the connection comes from. */
  readonly peer: PeerAddress;
  /** Whether the client is another relay of the mesh: it has shown the mesh key. */
  readonly mesh: boolean;
}

/** A client that was let in, and whose connection has ended. */
export interface ClientDisconnected {
  /** Number of the connection, as of its `connected`. */
  readonly id: number;
  /** The client's public key, `nodekey:` and 64 hex digits. */
  readonly key: string;
  /** Why the connection ended. */
  readonly reason: CloseReason;
}

/** The events of a relay, with what each handler gets. The relay logs what a handler throws, and goes on. */
export interface RelayEvents {
  /** A client was let in. Exactly one `disconnected` with its `id` follows. */
  connected: [ClientConnected];
  /** A client that was let in is gone. When `close` resolves, every client's has been emitted. */
  disconnected: [ClientDisconnected];
  /** The plane has failed and closed everything: `close` the relay, and make another. */
  fault: [DerpkitError];
}

/** The data plane that a relay has. */
export interface RelayPlane {
  /** Which implementation it is. */
  readonly kind: PlaneKind;
  /** Why it was chosen, in words; for the native plane the path of its addon. */
  readonly reason: string;
  /** Set to `true` where the setting `auto` took the JavaScript plane because the native one could not serve. */
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
 * One relay: made by `createRelay`, opened once by `start`, ended by `close`.
 *
 * `reload`, `admission`, `counters`, `figures` and `mesh` are for a relay that runs. Before `start` and after `close` has
 * resolved they throw a `DerpkitError` with the code `ERR_STATE`; `reload` rejects with it. So they do after a `start` that
 * failed. In the handlers of events they can be called.
 */
export interface Relay extends EventEmitter<RelayEvents>, AsyncDisposable {
  /** The data plane. It may change while `start` is under way, if the plane is `auto` and the native one cannot serve. */
  readonly plane: RelayPlane;
  /** Where the relay logs to: the `logger` of `RelayOptions`, or its own. */
  readonly logger: Logger;
  /**
   * The directory of what the relay makes, unless a setting names another place for it. Reading it throws a `ConfigError` where
   * neither `dataDir` is set nor the system knows a home directory of the user.
   */
  readonly dataDir: string;
  /** Where the relay can be reached; `undefined` until `start` has resolved. */
  readonly address: RelayAddress | undefined;
  /** The relay's public key, `nodekey:` and 64 hex digits; `undefined` until `start` has resolved. */
  readonly publicKey: string | undefined;
  /** SHA-256 of the first leaf certificate that is served, 64 lower-case hex digits; `undefined` where there is none, and while the relay does not run. */
  readonly fingerprint: string | undefined;
  /**
   * Loads or makes keys and certificates, and opens the listeners.
   *
   * Rejects with a `ConfigError` (every problem with the files that the settings name, or what the plane cannot serve), with a
   * `ListenError` if a listener cannot be opened, and with `ERR_STATE` if it was called before, or `close` was, also while it
   * is under way. Nothing is left open then.
   */
  start(): Promise<void>;
  /** Closes listeners and connections, and resolves when nothing is left open. It may be called at any time, and more than once; a relay is not started again. */
  close(): Promise<void>;
  /**
   * A sign of life: resolves when every thread that moves packets has made a turn, and stays unresolved where one of them
   * hangs. Throws `ERR_STATE` before `start` and after `close`.
   */
  pulse(): Promise<void>;
  /** Whether there are files for `reload` to read. */
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
  /** Whether every client may use the relay: no setting, and no `onAdmit`, says which may. */
  readonly admitsEverybody: boolean;
  /** What admission has done; `undefined` where every client is admitted. Throws `ERR_STATE` before `start` and after `close`. */
  admission(): AdmissionFigures | undefined;
  /** The plane's counters, as they are now. Throws `ERR_STATE` before `start` and after `close`. */
  counters(): Counters;
  /** Who is connected, as it is now. Throws `ERR_STATE` before `start` and after `close`. */
  figures(): RelayFigures;
  /**
   * Every connection, with what it has sent and got, in the order of connecting. The relay goes on with other work in between: a
   * connection that comes or goes meanwhile may be missing, one that stays is there once. Throws `ERR_STATE` before `start` and
   * after `close`.
   */
  clients(): AsyncIterable<ClientStatus>;
  /** The relays that this one meshes with, in the order of the settings. Throws `ERR_STATE` before `start` and after `close`. */
  mesh(): MeshStatus[];
}
