/** The data plane's certificates. Part of `plane.ts`, whose rules apply here. */
import type { ConnectionId } from './ids.js';

/** All certificates of the plane, in order of preference. */
export interface CertificateSet {
  /** The plane takes the first certificate that fits a handshake. */
  readonly certificates: readonly Certificate[];
  /**
   * What becomes of a server name that no certificate lists, or of none: it gets the first one, is refused, or raises
   * `certificateNeeded`. With `challenge` only a handshake for `acme-tls/1` alone raises that, and all others are refused.
   */
  readonly otherwise: 'first' | 'refuse' | 'ask' | 'challenge';
}

/** A certificate with its private key. */
export interface Certificate {
  /** Server names in any letter case, or local IP addresses. The star in `*.example.com` stands for one label. */
  readonly names: readonly string[];
  /** If set, only handshakes that offer this protocol (`acme-tls/1`) get the certificate. */
  readonly alpn?: string;
  /** DER, in the order in which the server sends them: leaf, intermediates, and the meta certificate last. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
}

/** A parked handshake: no certificate fits it yet. */
export interface CertificateNeed {
  /** The connection, as `close` takes it. */
  readonly id: ConnectionId;
  /** In lower case; empty if the client sent none. */
  readonly serverName: string;
  /** The local IP address of the connection. */
  readonly localAddress: string;
  /** The protocols that the client offers; at most the first sixteen. */
  readonly alpn: readonly string[];
}
