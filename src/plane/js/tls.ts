import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { Certificate, CertificateSet, TlsVersion } from '../plane.js';

/** DERP cannot run over HTTP/2, so nothing else is offered; DERP clients offer nothing at all. */
const ALPN = ['http/1.1'];

/** The certificates in force, ready for handshakes. */
export class TlsContexts {
  private readonly byName = new Map<string, SecureContext>();
  private readonly first: SecureContext | undefined;

  constructor(set: CertificateSet) {
    for (const certificate of set.certificates) {
      const context = secureContext(certificate);
      for (const name of certificate.names) this.byName.set(name.toLowerCase(), context);
      if (set.otherwise === 'first') this.first ??= context;
    }
  }

  /** Begins the server's side of a handshake. `secure` is emitted when it is done, `error` or `close` when it fails. */
  accept(socket: Socket): TLSSocket {
    return new TLSSocket(socket, {
      isServer: true,
      ALPNProtocols: ALPN,
      // Without a certificate here, a client that names no server is refused by the handshake itself.
      ...(this.first && { secureContext: this.first }),
      SNICallback: (name, done) => {
        const context = this.byName.get(name.toLowerCase()) ?? this.first;
        if (context) done(null, context);
        else done(new Error('no certificate for this server name'));
      },
    });
  }
}

export function tlsVersionOf(socket: TLSSocket): TlsVersion {
  return socket.getProtocol() === 'TLSv1.3' ? '1.3' : '1.2';
}

function secureContext(certificate: Certificate): SecureContext {
  return createSecureContext({
    cert: certificate.chain.map((der) => pem('CERTIFICATE', der)).join(''),
    key: pem('PRIVATE KEY', certificate.privateKey),
    minVersion: 'TLSv1.2',
  });
}

function pem(label: string, der: Uint8Array): string {
  const lines = Buffer.from(der)
    .toString('base64')
    .replace(/.{64}(?=.)/g, '$&\n');
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
}
