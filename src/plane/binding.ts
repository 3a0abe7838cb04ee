/** What the addon has, as JavaScript calls it. `crates/derp-node` is the other side. */
import type { Certificate, Failure, Listening, PacketDrop, PeerAddress, Snapshot, TlsVersion } from './plane.js';

export interface Binding {
  version(): string;
  /** The names of a policy's numbers, in the order in which they cross. */
  policyRows(): readonly string[];
  /** Sends a datagram to a Unix socket: a path, or an abstract name behind an `@`. */
  notify(socket: string, state: string): void;
  readonly BindingPlane: new (
    privateKey: Uint8Array,
    policy: BindingPolicy,
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
  policy(policy: BindingPolicy): void;
  admit(id: number, mesh: boolean, perSecond?: number, burst?: number): void;
  limit(id: number, perSecond?: number, burst?: number): void;
  close(id: number, reason: string): void;
  dial(link: number, target: object): string | null;
  hangUp(link: number): void;
  route(key: Uint8Array, via: number | null): void;
  missing(key: Uint8Array): void;
  gone(key: Uint8Array, reason: number): void;
  send(ids: readonly number[], frames: Uint8Array, pull: boolean): void;
  newId(): number;
  left(id: number): void;
  adopt(id: number, fd: number, how: BindingAdoption): void;
  attach(id: number, address: string, port: number, uncounted: boolean): number;
  snapshot(after: number, limit: number): Snapshot;
  tap(key: Uint8Array | null, snapLength: number): boolean;
  takeTapped(): ArrayBuffer | null;
  releaseTapped(slab: ArrayBuffer): void;
  stopTap(): void;
  /** Writes the events that have records into the bytes, and returns the others. */
  takeEvents(records: Uint8Array): BindingEvent[];
  shutdown(): void;
}

/** A policy: its numbers in the order of {@link Binding.policyRows}, and what is no number. */
export interface BindingPolicy {
  /** Milliseconds, bytes and counts. `NaN` stands for a rate that there is none of. */
  readonly numbers: Float64Array;
  readonly exempt: readonly string[];
  /** Another number with every receive rate that was given, even if it says the same. */
  readonly receiveEpoch: number;
  readonly watchedDrops: readonly Uint8Array[];
}

interface BindingAdoption {
  readonly listener: number;
  readonly address: string;
  readonly port: number;
  readonly leftover: Uint8Array;
  readonly notIdeal: boolean;
  readonly webSocket: boolean;
}

/** The events that the addon makes objects of: some of `PlaneEvents`, an answer, and two that tell of failures. */
export const EVENT_KINDS = [
  'watch',
  'closePeer',
  'pulled',
  'duplex',
  'linkOpen',
  'linkPeers',
  'linkClosed',
  'certificateNeeded',
  'drops',
  'failures',
  'crowded',
  /** The answer to {@link BindingPlane.pulse}. */
  'pulse',
  /** Something has failed that costs no more than what it was for. */
  'trouble',
  /** The plane has failed. */
  'fault',
] as const;

export interface BindingEvent {
  readonly kind: (typeof EVENT_KINDS)[number];
  readonly id: number;
  readonly key: Buffer;
  readonly reason: string;
  readonly address: string;
  readonly port: number;
  /** Absent without TLS. */
  readonly tlsVersion?: TlsVersion;
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
