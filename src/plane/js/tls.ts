import { constants, createPrivateKey, type KeyObject } from 'node:crypto';
import { isIP, type Socket, SocketAddress } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import { unmapped } from '../address.js';
import type { Certificate, CertificateSet, TlsVersion } from '../plane.js';
import type { ClientHello } from './client-hello.js';

/** DERP cannot run over HTTP/2, so nothing else is offered; DERP clients offer nothing at all. */
const HTTP = 'http/1.1';
/** A handshake for this alone is a certificate authority's question, not a client. */
const ACME = 'acme-tls/1';

/** What the native plane has, too: of TLS 1.2, what has forward secrecy and an AEAD. */
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

/** Signature schemes that clients can verify the signatures of a key by. */
const SCHEMES: Readonly<Record<string, readonly number[]>> = {
  rsa: [0x0804, 0x0805, 0x0806, 0x0401, 0x0501, 0x0601],
  prime256v1: [0x0403],
  secp384r1: [0x0503],
  secp521r1: [0x0603],
  ed25519: [0x0807],
};

/** A certificate that is ready for handshakes. */
export interface ReadyCertificate {
  readonly context: SecureContext;
  readonly alpn: string | undefined;
  readonly schemes: readonly number[];
}

/** The certificates in force. */
export class TlsContexts {
  private readonly byName = new Map<string, ReadyCertificate[]>();
  private readonly byAddress = new Map<string, ReadyCertificate[]>();
  /** For whom there is no other. */
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

  /** Of the certificates for the name (or for the address, where there is no name) the first that the client can verify. */
  choose({ serverName, alpn, schemes }: ClientHello, localAddress: string): ReadyCertificate | 'ask' | 'refuse' {
    const forAcme = alpn.length === 1 && alpn[0] === ACME;
    const listed = serverName === '' ? this.byAddress.get(plainAddress(localAddress)) : this.listed(serverName);
    const fitting = (listed ?? []).filter((ready) => (ready.alpn ? alpn.includes(ready.alpn) : !forAcme));
    // What was asked for by protocol comes first.
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

/** `*.example.com` for `relay.example.com`: a star stands for one whole label. */
function patternOf(name: string): string {
  const dot = name.indexOf('.');
  return dot < 1 ? '' : `*${name.slice(dot)}`;
}

/**
 * Begins the server's side of a handshake. `secure` is emitted when it is done, `error` or `close` when it fails; without a
 * certificate it does, once OpenSSL has said what is wrong. Whatever breaks TLS later, a renegotiation too, is an `error`
 * that ends the stream.
 */
export function acceptTls(socket: Socket, certificate: ReadyCertificate | undefined): TLSSocket {
  const stream = new TLSSocket(socket, {
    isServer: true,
    ALPNProtocols: [certificate?.alpn ?? HTTP],
    ...(certificate && { secureContext: certificate.context }),
  });
  // After the handshake Node says no more than this, unless the stream is one of its own servers'.
  stream.on('_tlsError', (error: Error) => {
    // What came before is still the client's, and a stream that is paused for its receive limit has it in its buffer.
    if (stream.readableFlowing === false) stream.read();
    stream.destroy(error);
  });
  // OpenSSL would refuse a renegotiation, and go on: a peer that asks for many would get an alert for each.
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

/** The one spelling of an address. */
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
