import type { Presence } from '../protocol/frame.js';
import type { NodeKey } from '../protocol/key.js';
import { PresenceFlag } from '../protocol/wire.js';

/** One admitted connection. The relay holds a hundred thousand of them: plain fields of one shape, no methods. */
export interface Client {
  readonly id: number;
  readonly key: NodeKey;
  readonly address: string;
  readonly port: number;
  /** Bits of {@link PresenceFlag}. */
  readonly flags: number;
  readonly appName: string;
  /** The version of the protocol that the client speaks. */
  readonly version: number;
  /** `null` without TLS. */
  readonly tlsVersion: '1.2' | '1.3' | null;
  /** Milliseconds, on the clock of the registry's `now`. */
  readonly since: number;
  home: boolean;
}

/** What the registry learns about a connection at its admission. */
export interface Arrival {
  readonly id: number;
  readonly key: NodeKey;
  readonly address: string;
  readonly port: number;
  readonly appName: string;
  readonly version: number;
  readonly tlsVersion: '1.2' | '1.3' | null;
  readonly mesh: boolean;
  readonly prober: boolean;
  readonly notIdeal: boolean;
}

export function clientOf(arrival: Arrival, now: number): Client {
  const { id, key, address, port, appName, version, tlsVersion } = arrival;
  return { id, key, address, port, flags: flagsOf(arrival), appName, version, tlsVersion, since: now, home: false };
}

export function presenceOf({ key, address, port, flags, appName }: Client): Presence {
  return { key, address, port, flags, appName };
}

export function isNotIdeal(client: Client): boolean {
  return (client.flags & PresenceFlag.NotIdeal) !== 0;
}

/** Whether the connection is a link of another relay. */
export function isMeshPeer(client: Client): boolean {
  return (client.flags & PresenceFlag.MeshPeer) !== 0;
}

function flagsOf({ mesh, prober, notIdeal }: Arrival): number {
  const special =
    (mesh ? PresenceFlag.MeshPeer : 0) | (prober ? PresenceFlag.Prober : 0) | (notIdeal ? PresenceFlag.NotIdeal : 0);
  return special === 0 ? PresenceFlag.Regular : special;
}
