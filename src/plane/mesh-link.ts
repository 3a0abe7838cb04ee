/** Mesh links of the data plane: what it dials, and what the other relay reports. Part of `plane.ts`, whose rules apply here. */
import type { NodeKey } from '../protocol/key.js';
import type { PeerAddress } from './ids.js';

/** A relay to dial. */
export interface DialTarget {
  /** The address to connect to. */
  readonly address: PeerAddress;
  /**
   * The relay's name, or its address without brackets. Its certificate must be valid for it; SNI carries it if it is a
   * name.
   */
  readonly host: string;
  /** The Host header: `host`, in brackets where it is an IPv6 address, with its port unless that is 443. */
  readonly authority: string;
  /** Trusted certificates, DER; unusable ones are skipped. `null` for plain HTTP. */
  readonly roots: readonly Uint8Array[] | null;
  /** The mesh key: 64 lower-case hex digits. */
  readonly meshKey: string;
  /** For the whole dial, from the first SYN to ServerInfo. */
  readonly timeout: number;
  /**
   * Whether the link subscribes to the relay's clients (WatchConns). Without it, `linkPeers` reports PeerGone frames alone:
   * the relay answers with one where a packet that the link forwarded finds no client.
   */
  readonly watch: boolean;
}

/** A PeerPresent frame, or a PeerGone frame with any reason. */
export interface LinkChange {
  /** The peer. */
  readonly key: NodeKey;
  /** True if the peer connected, false if it left. */
  readonly present: boolean;
}
