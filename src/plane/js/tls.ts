import { constants, createPrivateKey, type KeyObject } from 'node:crypto';
import { isIP, type Socket, SocketAddress } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { unmapped } from '../address.js';
import type { Certificate, CertificateSet, TlsVersion } from '../plane.js';
import type { ClientHello } from './client-hello.js';

/** The only protocol that is offered: DERP cannot run over HTTP/2, and DERP clients ask for no protocol. */
const HTTP = 'http/1.1';
/** A handshake for this protocol alone comes from a certificate authority, not from a client. */
const ACME = 'acme-tls/1';

/** The native plane's cipher suites: those of TLS 1.3, and those of TLS 1.2 with forward secrecy and an AEAD. */
const CIPHERS = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_AES_128_GCM_SHA256',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** For each type of key, the signature schemes that it can sign with. */
const SCHEMES: Readonly<Record<string, readonly number[]>> = {
  rsa: [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601],
  prime256v1: [0x0403],
  secp384r1: [0x0503],
  secp521r1: [0x0603],
  ed25519: [0x0807],
};

/** A certificate, prepared for handshakes. */
export interface ReadyCertificate {
  readonly context: SecureContext;
  readonly alpn: string | undefined;
  readonly schemes: readonly number[];
}

/** The current certificates. */
export class TlsContexts {
  private readonly byName = new Map<string, ReadyCertificate[]>();
  private readonly byAddress = new Map<string, ReadyCertificate[]>();
  /** The default certificate if no name matches. */
  readonly first: ReadyCertificate | undefined;

  constructor(private readonly set: CertificateSet) {
    for (const certificate of set.certificates) {
      const ready = readyCertificate(certificate);
      for (const name of certificate.names) {
        if (isIP(name)) add(this.byAddress, plainAddress(name), ready);
        else add(this.byName, name.toLowerCase(), ready);
      }
      if (set.otherwise === 'first' && !certificate.alpn) this.first ??= ready;
    }
  }

  /**
   * Chooses the first certificate for the server name (or for the local address, if there is no name) that the client
   * can verify.
   */
  choose({ serverName, alpn, schemes }: ClientHello, localAddress: string): ReadyCertificate | 'ask' | 'refuse' {
    const forAcme = alpn.length === 1 && alpn[0] === ACME;
    const listed = serverName === '' ? this.byAddress.get(plainAddress(localAddress)) : this.listed(serverName);
    const fitting = (listed ?? []).filter((ready) => (ready.alpn ? alpn.includes(ready.alpn) : !forAcme));
    // Certificates for a protocol take precedence.
    const candidates = [...fitting.filter((ready) => ready.alpn), ...fitting.filter((ready) => !ready.alpn)];
    const verifiable = candidates.find((ready) => ready.schemes.some((scheme) => schemes.includes(scheme)));
    const { otherwise } = this.set;
    const asks = otherwise === 'ask' || (otherwise === 'challenge' && forAcme);
    return verifiable ?? candidates[0] ?? this.first ?? (asks ? 'ask' : 'refuse');
  }

  private listed(name: string): readonly ReadyCertificate[] | undefined {
    return this.byName.get(name) ?? this.byName.get(patternOf(name));
  }
}

/** The wildcard that covers a name: `*.example.com` for `relay.example.com`. */
function patternOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 1 ? '' : `*${name.slice(dot)}`;
}

/**
 * Starts the server's side of a handshake. The stream emits `secure` when it succeeds, `error` or `close` when it
 * fails. Without a certificate it fails, once OpenSSL has sent its alert. A later TLS failure, and a renegotiation,
 * emit `error` and end the stream.
 */
export function acceptTls(socket: Socket, certificate: ReadyCertificate | undefined): TLSSocket {
  const stream = new TLSSocket(socket, {
    isServer: true,
    ALPNProtocols: [certificate?.alpn ?? HTTP],
    ...(certificate && { secureContext: certificate.context }),
  });
  // After the handshake, Node reports a TLS failure only with this event, unless the stream belongs to one of its own
  // servers.
  stream.on('_tlsError', (error: Error) => {
    // Earlier bytes still count, and a stream that the receive limit has paused holds them in its buffer.
    if (stream.readableFlowing === false) stream.read();
    stream.destroy(error);
  });
  // OpenSSL would refuse each renegotiation with an alert and go on, so that a peer could cause any number of alerts.
  stream.disableRenegotiation();
  return stream;
}

export function tlsVersionOf(socket: TLSSocket): TlsVersion {
  return socket.getProtocol() === 'TLSv1.3' ? '1.3' : '1.2';
}

function readyCertificate({ chain, privateKey, alpn }: Certificate): ReadyCertificate {
  const key = createPrivateKey({ key: Buffer.from(privateKey), format: 'der', type: 'pkcs8' });
  const context = createSecureContext({
    cert: chain.map((der) => pem('CERTIFICATE', der)).join(''),
    key: pem('PRIVATE KEY', privateKey),
    minVersion: 'TLSv1.2',
    ciphers: CIPHERS,
    secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
  });
  return { context, alpn, schemes: SCHEMES[kindOf(key)] ?? [] };
}

function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  return asymmetricKeyDetails?.namedCurve ?? asymmetricKeyType ?? '';
}

function add<T>(to: Map<string, T[]>, name: string, item: T): void {
  to.set(name, [...(to.get(name) ?? []), item]);
}

/** The canonical text of an address. */
function plainAddress(text: string): string {
  const address = unmapped(text);
  if (isIP(address) !== 6) return address;
  return new SocketAddress({ address, family: 'ipv6' }).address;
}

function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
