/** What the addon has, as JavaScript calls it. `crates/derp-node` is the other side. */
import type { ClientInfo } from '../protocol/login.js';
import type { Certificate, Failure, Listening, PacketDrop, PeerAddress, Snapshot, TlsVersion } from './plane.js';

export interface Binding {
  version(): string;
  /** Sends a datagram to a Unix socket: a path, or an abstract name behind an `@`. */
  notify(socket: string, state: string): void;
  readonly BindingPlane: new (
    privateKey: Uint8Array,
    policy: object,
    workers: number,
    wake: () => void,
  ) => BindingPlane;
}

export interface BindingPlane {
  counters(): ArrayBuffer | null;
  copyCounters(): number[];
  certificates(certificates: readonly Certificate[], otherwise: string): void;
  listen(host: string, port: number, derp: boolean, tls: boolean): Listening;
  listenStun(host: string, port: number): Listening;
  listenOn(fd: number, derp: boolean, tls: boolean): Listening;
  listenStunOn(fd: number): Listening;
  /** The event `pulse` with this id follows. */
  pulse(id: number): void;
  policy(policy: object): void;
  admit(id: number, mesh: boolean, perSecond?: number, burst?: number): void;
  limit(id: number, perSecond?: number, burst?: number): void;
  close(id: number, reason: string): void;
  dial(link: number, target: object): string | null;
  hangUp(link: number): void;
  route(key: Uint8Array, via: number | null): void;
  gone(key: Uint8Array, reason: number): void;
  send(ids: readonly number[], frames: Uint8Array, pull: boolean): void;
  newId(): number;
  left(id: number): void;
  adopt(
    id: number,
    fd: number,
    listener: number,
    address: string,
    port: number,
    leftover: Uint8Array,
    notIdeal: boolean,
    webSocket: boolean,
  ): void;
  attach(id: number, address: string, port: number): number;
  snapshot(after: number, limit: number): Snapshot;
  tap(key: Uint8Array | null, snapLength: number): boolean;
  takeTapped(): ArrayBuffer | null;
  releaseTapped(slab: ArrayBuffer): void;
  stopTap(): void;
  takeEvents(): BindingEvent[];
  shutdown(): void;
}

export interface BindingEvent {
  readonly kind: string;
  readonly id: number;
  readonly key: Buffer;
  readonly reason: string;
  readonly sequence: number;
  readonly home: boolean;
  readonly address: string;
  readonly port: number;
  readonly notIdeal: boolean;
  /** Absent without TLS. */
  readonly tlsVersion?: TlsVersion;
  readonly info: Omit<ClientInfo, 'meshKey'> & { readonly meshKey?: string };
  readonly listener: number;
  readonly fd: number;
  readonly received: Buffer;
  readonly drops: readonly BindingDrop[];
  readonly failures: readonly (Omit<Failure, 'peer'> & PeerAddress)[];
  readonly untold: number;
  /** 33 bytes for each: the key, and whether it is there. */
  readonly changes: Buffer;
  readonly serverName: string;
  readonly localAddress: string;
  readonly alpn: readonly string[];
}

interface BindingDrop extends Omit<PacketDrop, 'source' | 'destination'> {
  readonly source: Buffer;
  readonly destination: Buffer;
}
