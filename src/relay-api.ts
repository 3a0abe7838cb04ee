/** What a relay is to those that embed it. */
import type { EventEmitter } from 'node:events';
import type { DnsHook } from './control/acme/dns-hook.js';
import type { AdmissionFigures } from './control/admission/figures.js';
import type { OnAdmit } from './control/admission/hook.js';
import type { MeshStatus } from './control/mesh.js';
import type { DerpkitError } from './errors.js';
import type { Logger } from './logger.js';
import type { CounterName } from './plane/counters.js';
import type { CloseReason, PeerAddress, PlaneKind } from './plane/plane.js';
import type { Registry } from './registry/registry.js';

export type { AdmitClient, AdmitDecision, OnAdmit } from './control/admission/hook.js';

export interface RelayOptions {
  /** Decides about each client that the settings let in, and again whenever they are asked about it. */
  readonly onAdmit?: OnAdmit;
  /** Where the relay logs to; by default its own logger, as `logFormat` and `logLevel` say. */
  readonly logger?: Logger;
  /** Sets TXT records for DNS-01, or removes them; resolves when the record can be seen. Instead of `acme.dns.exec`. */
  readonly dnsHook?: DnsHook;
}

/** Where a started relay can be reached. */
export interface RelayAddress {
  readonly derp: Endpoint & { readonly tls: boolean };
  /** Plain HTTP beside TLS. */
  readonly http?: Endpoint;
  readonly stun?: Endpoint;
}

export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface RelayEvents {
  /** A client was let in. `key` is its public key, `nodekey:<hex>`. */
  connected: [{ readonly id: number; readonly key: string; readonly peer: PeerAddress; readonly mesh: boolean }];
  disconnected: [{ readonly id: number; readonly key: string; readonly reason: CloseReason }];
  /** The plane has failed and closed everything; `close` the relay, and make another. */
  fault: [DerpkitError];
}

export interface Relay extends EventEmitter<RelayEvents>, AsyncDisposable {
  readonly plane: { readonly kind: PlaneKind; readonly reason: string; readonly fallback?: boolean };
  readonly logger: Logger;
  /** Where everything that the relay makes is kept, unless a setting names another place for it. */
  readonly dataDir: string;
  /** Known once the relay has started. */
  readonly address: RelayAddress | undefined;
  /** The relay's public key, `nodekey:<hex>`, once started. */
  readonly publicKey: string | undefined;
  /** SHA-256 of the first leaf certificate that is served, lower-case hex; `undefined` where there is none yet. */
  readonly fingerprint: string | undefined;
  /**
   * Loads or makes keys and certificates, and opens the listeners. Rejects with `ConfigError` (every problem), or with
   * `ERR_LISTEN`; nothing is left open then.
   */
  start(): Promise<void>;
  /** Closes listeners and connections. Idempotent; a relay is not started twice. */
  close(): Promise<void>;
  /** Whether there are files to read again. */
  readonly reloads: boolean;
  /**
   * Reads the rate file, lists of keys, files with headers, and certificates again, where there are any. Rejects if one of
   * them cannot be used, for which what was read before still holds; the others are in force.
   */
  reload(): Promise<void>;
  /** Whether anybody may use it: no setting, and no `onAdmit`, says who may. */
  readonly admitsEverybody: boolean;
  /** What admission has done, once the relay has started; `undefined` where everybody is admitted. */
  admission(): AdmissionFigures | undefined;
  /** The plane's counters, as they are now. */
  counters(): Record<CounterName, number>;
  /** Gauges and counters of who is connected. */
  figures(): ReturnType<Registry['figures']>;
  /** The relays that this one meshes with, in the order of the settings. */
  mesh(): MeshStatus[];
}
