/** The HTTP side of raw DERP: which requests ask for it, and how they are answered. Pure. */
import { ProtocolError } from './decode.js';
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

/** What may stand in a `Host` field: by Go's rule, which is generous. */
export function isHostField(text: string): boolean {
  return /^[A-Za-z0-9!$%&'()*+,\-.:;=[\]_~]*$/.test(text);
}

/** The longest body that a request may announce: Go's, 2⁶³ less one. */
const LONGEST_BODY = 2n ** 63n - 1n;

/**
 * The status that derper refuses a request with for what it says about its body, by all its `Content-Length` and
 * `Transfer-Encoding` fields: a length that two servers would read differently is an attack on one of them. `undefined`
 * if nothing is wrong with it. HTTP/1.0 does not know codings.
 */
export function bodyFault(
  lengths: readonly string[],
  codings: readonly string[],
  isVersion11: boolean,
): 400 | 501 | undefined {
  const hasKnownCoding = codings.length === 0 || (codings.length === 1 && codings[0]?.toLowerCase() === 'chunked');
  if (isVersion11 && !hasKnownCoding) return 501;
  const [length] = lengths;
  if (length === undefined) return undefined;
  const isSound = lengths.every((other) => other === length) && /^\d+$/.test(length) && BigInt(length) <= LONGEST_BODY;
  return isSound ? undefined : 400;
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

/** The client's side: the request for raw DERP, with an HTTP answer. */
export function upgradeRequest(authority: string): Buffer {
  return Buffer.from(
    `GET ${DERP_PATH} HTTP/1.1\r\n` +
      `Host: ${authority}\r\n` +
      'User-Agent: derpkit\r\n' +
      'Connection: Upgrade\r\n' +
      'Upgrade: DERP\r\n\r\n',
  );
}

/**
 * The client's side: where DERP begins behind the answer to {@link upgradeRequest}; `undefined` while its head is not
 * whole. Throws {@link ProtocolError} if it is no 101, or longer than `limit`.
 */
export function endOfSwitching(bytes: Buffer, limit: number): number | undefined {
  const end = bytes.indexOf('\r\n\r\n');
  if (end < 0 && bytes.length < limit) return undefined;
  const [statusLine = ''] = bytes.toString('latin1', 0, Math.min(bytes.length, 256)).split('\r\n', 1);
  if (end < 0 || !/^HTTP\/1\.[01] 101(?: |$)/.test(statusLine)) {
    throw new ProtocolError(`it answers ${JSON.stringify(statusLine.slice(0, 64))}`);
  }
  return end + 4;
}
