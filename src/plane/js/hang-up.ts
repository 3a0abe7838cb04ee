import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';

/** Milliseconds that the system has to take the written bytes before the connection is destroyed. */
const PATIENCE = 1000;

/**
 * Ends a connection from the relay's side. Over TLS it sends close_notify, which tells the peer that no attacker cut
 * the connection, and does not wait for the answer. The handshake must be complete.
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
