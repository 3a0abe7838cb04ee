/** The handshake of DERP over WebSocket: the faults that refuse it, and the answer that accepts it. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptOf, CloseCode, closeFrame } from '../protocol/websocket.js';

export interface HandshakeFault {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** The first fault of a request for a WebSocket, in the order in which upstream checks. */
export function handshakeFault(request: IncomingMessage): HandshakeFault | undefined {
  const { headers, headersDistinct, httpVersion, method } = request;
  if (httpVersion !== '1.1') return fault(426, `a WebSocket needs HTTP/1.1, not HTTP/${httpVersion}`);
  if (!tokens(headers.connection).includes('upgrade')) {
    const wanted = { Connection: 'Upgrade', Upgrade: 'websocket' };
    return fault(426, 'a WebSocket needs the header Connection: Upgrade', wanted);
  }
  if (method !== 'GET') return fault(405, 'a WebSocket is asked for with GET');
  if (headers['sec-websocket-version'] !== '13') {
    return fault(400, 'the WebSocket version has to be 13', { 'Sec-WebSocket-Version': '13' });
  }
  const keys = headersDistinct['sec-websocket-key'] ?? [];
  if (keys.length !== 1) return fault(400, 'one Sec-WebSocket-Key is needed');
  if (!/^[A-Za-z0-9+/]{21}[AQgw]==$/.test(keys[0] as string)) {
    return fault(400, 'Sec-WebSocket-Key has to be 16 bytes in base64');
  }
  return undefined;
}

/**
 * Accepts a handshake without fault. False if the client does not offer the subprotocol `derp`: it has been told and
 * disconnected then.
 */
export function answerHandshake({ headers }: IncomingMessage, socket: Duplex): boolean {
  const offered = (headers['sec-websocket-protocol'] ?? '').split(',').map((token) => token.trim());
  const protocol = offered.find((token) => token.toLowerCase() === 'derp');
  const lines = [
    'HTTP/1.1 101 Switching Protocols',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Date: ${new Date().toUTCString()}`,
    `Sec-WebSocket-Accept: ${acceptOf(headers['sec-websocket-key'] as string)}`,
    ...(protocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${protocol}`]),
  ];
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
  if (protocol !== undefined) return true;
  socket.end(closeFrame(CloseCode.PolicyViolation, 'client must speak the derp subprotocol'), () => socket.destroy());
  return false;
}

function tokens(header: string | undefined): string[] {
  return (header ?? '').split(',').map((token) => token.trim().toLowerCase());
}

function fault(status: number, text: string, headers: Record<string, string> = {}): HandshakeFault {
  return { status, text, headers };
}
