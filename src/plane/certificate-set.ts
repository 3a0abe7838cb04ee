/** Certificates of the data plane. Part of `plane.ts`, whose rules hold. */
import type { ConnectionId } from './ids.js';

/** All certificates of the plane. */
export interface CertificateSet {
  /** The first one that fits a handshake is taken. */
  readonly certificates: readonly Certificate[];
  /**
   * What becomes of a server name that no certificate lists, or of none: it gets the first one, is refused, or raises
   * `certificateNeeded`. With `challenge` only a handshake for `acme-tls/1` alone raises that, and all others are refused.
   */
  readonly otherwise: 'first' | 'refuse' | 'ask' | 'challenge';
}

/** A certificate with its key. */
export interface Certificate {
  /** Server names, in any letter case, or local IP addresses. `*.example.com` is for one label in place of the star. */
  readonly names: readonly string[];
  /** Offered only in handshakes that ask for this protocol (`acme-tls/1`), if set. */
  readonly alpn?: string;
  /** DER, in the order they are sent: leaf, intermediates, and the meta certificate last. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

/** A handshake that is parked for want of a certificate. */
export interface CertificateNeed {
  /** For `close`. */
  readonly id: ConnectionId;
  /** In lower case; empty if the client sent none. */
  readonly serverName: string;
  /** IP address that the client has connected to. */
  readonly localAddress: string;
  /** The protocols that the client offers, the first sixteen of them. */
  readonly alpn: readonly string[];
}
