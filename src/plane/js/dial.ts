import { X509Certificate } from 'node:crypto';
import { connect, isIP, type Socket } from 'node:net';
import {
  createSecureContext,
  type PeerCertificate,
  type SecureContext,
  type SecureContextOptions,
  TLSSocket,
  connect as tlsConnect,
} from 'node:tls';
import { reasonOf } from '../../errors.js';
import { isAmong, namesIn } from '../../protocol/host-name.js';
import type { DialTarget } from '../plane.js';

/** Connects to a relay, over TLS if `roots` are given. Calls `onConnected` at most once. */
export function connectTo(target: DialTarget, onConnected: () => void): Socket {
  const stream = begin(target, onConnected);
  // The stream may fail before the caller listens to it, and an unhandled `error` ends the process.
  stream.on('error', () => stream.destroy());
  return stream;
}

function begin({ address: { address, port }, host, roots }: DialTarget, onConnected: () => void): Socket {
  if (!roots) return connect({ host: address, port }, onConnected);
  return tlsConnect(
    {
      host: address,
      port,
      // SNI carries names only, never an address.
      servername: isIP(host) === 0 ? host : '',
      secureContext: trusting(roots),
      // Ignores NODE_TLS_REJECT_UNAUTHORIZED, because the relay will be told our mesh key.
      rejectUnauthorized: true,
      checkServerIdentity: (_, certificate) => identityOf(host, certificate),
    },
    onConnected,
  );
}

/** Why a connection failed, as text for the log. */
export function failureOf(stream: Socket, error: Error): string {
  const untrusted = stream instanceof TLSSocket && stream.authorizationError;
  if (!untrusted) return reasonOf(error);
  // Newer Node adds advice, which is of no use here: the roots are those of the settings.
  return `its certificate is not trusted: ${error.message.replace(/; if the root CA is .*$/, '')}`;
}

/** Checks names by Go's rules: a wildcard needs only one label behind it, and the common name does not count. */
function identityOf(host: string, { subjectaltname }: PeerCertificate): Error | undefined {
  const names = namesIn(subjectaltname);
  if (isAmong(names, host)) return undefined;
  if (names.length === 0) return new Error('it has no alternative names');
  return new Error(`it is for the names ${names.join(', ')}`);
}

/** TLS contexts by their roots. To read 150 certificates takes time, and a lost link is dialled every few seconds. */
const contexts = new WeakMap<readonly Uint8Array[], SecureContext>();

function trusting(roots: readonly Uint8Array[]): SecureContext {
  const known = contexts.get(roots);
  if (known) return known;
  const ca = roots.flatMap((der) => {
    try {
      return [new X509Certificate(der).toString()];
    } catch {
      return [];
    }
  });
  // As with Go, a trusted certificate needs no root above it. Node has this option from 20.18 on.
  const context = createSecureContext({
    ca,
    minVersion: 'TLSv1.2',
    allowPartialTrustChain: true,
  } as SecureContextOptions);
  contexts.set(roots, context);
  return context;
}
