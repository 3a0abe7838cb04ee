/** The HTTP side of raw DERP: which requests ask for it, and how they are answered. Pure. */
import { type NodeKey, nodeKeyHex } from './key.js';
import { PROTOCOL_VERSION } from './wire.js';

/** Any spelling of the target that is this path, the query left aside, is the upgrade route. */
export const DERP_PATH = '/derp';

/** The path of a request target without its query; of an absolute target, what follows the host. */
export function pathOfTarget(target: string): string {
  return /^(?:[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)/.exec(target)?.[1] || '/';
}

/** What the first `Upgrade` and `Sec-WebSocket-Protocol` headers of a request for {@link DERP_PATH} ask for. */
export function requestedFraming(
  upgrade: string | undefined,
  webSocketProtocol: string | undefined,
): 'raw' | 'websocket' | undefined {
  const protocol = upgrade?.toLowerCase();
  if (protocol === 'derp') return 'raw';
  // Early clients said WebSocket and spoke raw DERP; real WebSocket ones offer the subprotocol `derp`.
  if (protocol === 'websocket') return webSocketProtocol?.includes('derp') ? 'websocket' : 'raw';
  return undefined;
}

/** The client knows the server's key from the TLS handshake and wants no HTTP answer. */
export function wantsFastStart(derpFastStart: string | undefined): boolean {
  return derpFastStart === '1';
}

/** The answer to an upgrade without fast start, byte for byte derper's. */
export function switchingProtocols(serverKey: NodeKey): Buffer {
  return Buffer.from(
    'HTTP/1.1 101 Switching Protocols\r\n' +
      'Upgrade: DERP\r\n' +
      'Connection: Upgrade\r\n' +
      `Derp-Version: ${PROTOCOL_VERSION}\r\n` +
      `Derp-Public-Key: ${nodeKeyHex(serverKey)}\r\n\r\n`,
  );
}
