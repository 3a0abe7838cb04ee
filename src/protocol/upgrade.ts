/** The HTTP side of raw DERP: which requests ask for it, and the answers to them. Pure. */
import { ProtocolError } from './decode.js';
import { type NodeKey, nodeKeyHex } from './key.js';
import { PROTOCOL_VERSION } from './wire.js';

/** The path of upgrade requests, in any spelling of the request target and with any query. */
export const DERP_PATH = '/derp';

/** The path of a request target, without its query. For an absolute target: what follows the host. */
export function pathOfTarget(target: string): string {
  return /^(?:[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)/.exec(target)?.[1] || '/';
}

/**
 * The framing that the first `Upgrade` and `Sec-WebSocket-Protocol` headers of a request for {@link DERP_PATH} ask for.
 */
export function requestedFraming(
  upgrade: string | undefined,
  webSocketProtocol: string | undefined,
): 'raw' | 'websocket' | undefined {
  const protocol = upgrade?.toLowerCase();
  if (protocol === 'derp') return 'raw';
  // Early clients asked for `websocket` and spoke raw DERP; real WebSocket clients offer the subprotocol `derp`.
  if (protocol === 'websocket') return webSocketProtocol?.includes('derp') ? 'websocket' : 'raw';
  return undefined;
}

/** Whether Go's generous rule accepts the text as a `Host` field. */
export function isHostField(text: string): boolean {
  return /^[A-Za-z0-9!$%&'()*+,\-.:;=[\]_~]*$/.test(text);
}

/** The longest body that Go lets a request announce: 2⁶³ − 1 bytes. */
const LONGEST_BODY = 2n ** 63n - 1n;

/**
 * The status with which derper refuses a request for the body length it announces; `undefined` if it accepts the
 * length. The arguments are all `Content-Length` and `Transfer-Encoding` fields of the request: two servers that read a
 * length differently can be played against each other. HTTP/1.0 has no transfer codings.
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

/**
 * Whether the client asks for a fast start: it knows the server's key from the TLS handshake, and wants no HTTP answer.
 */
export function wantsFastStart(derpFastStart: string | undefined): boolean {
  return derpFastStart === '1';
}

/** The answer to an upgrade without fast start, byte for byte as derper sends it. */
export function switchingProtocols(serverKey: NodeKey): Buffer {
  return Buffer.from(
    'HTTP/1.1 101 Switching Protocols\r\n' +
      'Upgrade: DERP\r\n' +
      'Connection: Upgrade\r\n' +
      `Derp-Version: ${PROTOCOL_VERSION}\r\n` +
      `Derp-Public-Key: ${nodeKeyHex(serverKey)}\r\n\r\n`,
  );
}

/** The client's side: the upgrade request for raw DERP without fast start. */
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
 * The client's side: the offset at which DERP begins behind the answer to {@link upgradeRequest}; `undefined` while the
 * answer's head is incomplete. Throws {@link ProtocolError} if the answer is not 101, or longer than `limit`.
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
