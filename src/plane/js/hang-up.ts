import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** How long, in milliseconds, the system has to take what was written before the end of a connection. */
const PATIENCE = 1000;

/**
 * Ends a connection from our side. Over TLS the peer is told so (close_notify): otherwise it could not tell this end from
 * a connection that an attacker has cut. The peer's answer is not waited for. The handshake has to be done.
 */
export function hangUp(stream: Duplex): void {
  if (!(stream instanceof TLSSocket) || !stream.writable) {
    stream.destroy();
    return;
  }
  const late = setTimeout(() => stream.destroy(), PATIENCE).unref();
  stream.once('close', () => clearTimeout(late));
  stream.destroySoon();
}
