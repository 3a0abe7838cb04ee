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

/** Connects, over TLS unless there are no roots. `onConnected` is called at most once. */
export function connectTo(target: DialTarget, onConnected: () => void): Socket {
  const stream = begin(target, onConnected);
  // Whoever calls may fail before it listens, and an error that nobody listens for ends the process.
  stream.on('error', () => stream.destroy());
  return stream;
}

function begin({ address: { address, port }, host, roots }: DialTarget, onConnected: () => void): Socket {
  if (!roots) return connect({ host: address, port }, onConnected);
  return tlsConnect(
    {
      host: address,
      port,
      // No address is asked for by name.
      servername: isIP(host) === 0 ? host : '',
      secureContext: trusting(roots),
      // Whatever NODE_TLS_REJECT_UNAUTHORIZED says: the relay is told our mesh key.
      rejectUnauthorized: true,
      checkServerIdentity: (_, certificate) => identityOf(host, certificate),
    },
    onConnected,
  );
}

/** Why a connection failed, for the log. */
export function failureOf(stream: Socket, error: Error): string {
  const untrusted = stream instanceof TLSSocket && stream.authorizationError;
  return untrusted ? `its certificate is not trusted: ${error.message}` : reasonOf(error);
}

/** By Go's rules, in which a wildcard may have one label behind it, and the common name does not count. */
function identityOf(host: string, { subjectaltname }: PeerCertificate): Error | undefined {
  const names = namesIn(subjectaltname);
  if (isAmong(names, host)) return undefined;
  if (names.length === 0) return new Error('it has no alternative names');
  return new Error(`it is for the names ${names.join(', ')}`);
}

/** A link that is lost is dialled every few seconds, and reading 150 certificates takes a while. */
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
  // What is trusted needs no root above it, as with Go; Node has this from 20.18 on.
  const context = createSecureContext({
    ca,
    minVersion: 'TLSv1.2',
    allowPartialTrustChain: true,
  } as SecureContextOptions);
  contexts.set(roots, context);
  return context;
}
