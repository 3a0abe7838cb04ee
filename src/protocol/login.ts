/**
 * The login: ClientInfo and ServerInfo, JSON in NaCl boxes. Opening a ClientInfo proves that the client holds its key.
 */
import nacl from 'tweetnacl';
import { ProtocolError } from './decode.js';
import { newFrame } from './frame.js';
import { isMeshKey, isZeroKey, type KeyPair, type NodeKey, nodeKeyBytes, readNodeKey, writeNodeKey } from './key.js';
import {
  BOX_OVERHEAD,
  FrameType,
  HEADER_LENGTH,
  KEY_LENGTH,
  MAX_APP_NAME_LENGTH,
  MIN_CLIENT_INFO_LENGTH,
  NONCE_LENGTH,
  PROTOCOL_VERSION,
} from './wire.js';

/** What a client says of itself, checked. */
export interface ClientInfo {
  readonly version: number;
  /** 64 lower-case hex digits, if the client presented a mesh key at all: right or wrong is admission's business. */
  readonly meshKey: string | undefined;
  readonly canAckPings: boolean;
  readonly isProber: boolean;
  /** Printable ASCII, at most 32 characters; empty if the client gave none. */
  readonly appName: string;
}

/** A ClientInfo that opened, and the shared key that seals the answer. */
export interface OpenedLogin {
  readonly key: NodeKey;
  readonly info: ClientInfo;
  readonly sharedKey: Uint8Array;
}

/** What every low-order public key leads to, whichever the private key: X25519 of zero. */
const DEGENERATE_KEY = nacl.box.before(new Uint8Array(KEY_LENGTH), nacl.randomBytes(KEY_LENGTH));

/** Opens the body of a ClientInfo frame. Throws {@link ProtocolError} where the login has to fail. */
export function openClientInfo(body: Buffer, serverPrivateKey: Uint8Array): OpenedLogin {
  const key = readNodeKey(body);
  if (isZeroKey(key)) throw new ProtocolError('the client key is zero');
  const sharedKey = sharedKeyOf(serverPrivateKey, key);
  const json = openBox(body.subarray(KEY_LENGTH), sharedKey);
  if (!json) throw new ProtocolError('the ClientInfo box does not open');
  return { key, info: parseClientInfo(json), sharedKey };
}

/** A ServerInfo frame, under the shared key of an {@link OpenedLogin}. */
export function sealServerInfo(sharedKey: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify({ version: PROTOCOL_VERSION }));
  const frame = newFrame(FrameType.ServerInfo, NONCE_LENGTH + BOX_OVERHEAD + json.length);
  sealBox(json, sharedKey, frame, HEADER_LENGTH);
  return frame;
}

/** The client's side: a ClientInfo frame for the server whose greeting was read. `json` is sent as it is. */
export function sealClientInfo(client: KeyPair, serverKey: NodeKey, json: string): Buffer {
  const text = Buffer.from(json);
  const frame = newFrame(FrameType.ClientInfo, MIN_CLIENT_INFO_LENGTH + BOX_OVERHEAD + text.length);
  writeNodeKey(client.publicKey, frame, HEADER_LENGTH);
  sealBox(text, sharedKeyOf(client.privateKey, serverKey), frame, HEADER_LENGTH + KEY_LENGTH);
  return frame;
}

/** The client's side: the text of a ServerInfo frame's body, or `undefined` if its box does not open. */
export function openServerInfo(body: Buffer, client: KeyPair, serverKey: NodeKey): string | undefined {
  return openBox(body, sharedKeyOf(client.privateKey, serverKey))?.toString();
}

/**
 * Reads ClientInfo's JSON as Go's decoder does: names match in any case, the last of several wins, unknown ones are
 * passed over, `null` leaves a field alone, and a wrong type fails the login.
 */
export function parseClientInfo(json: Uint8Array): ClientInfo {
  let value: unknown;
  try {
    // Invalid UTF-8 is replaced, as in Go; a byte order mark is kept, and refused by the parser.
    value = JSON.parse(new TextDecoder('utf-8', { ignoreBOM: true }).decode(json));
  } catch (cause) {
    throw new ProtocolError('ClientInfo is not JSON', { cause });
  }
  if (value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    throw new ProtocolError('ClientInfo is not a JSON object');
  }
  const info = {
    version: 0,
    meshKey: undefined as string | undefined,
    canAckPings: false,
    isProber: false,
    appName: '',
  };
  for (const [name, field] of Object.entries(value ?? {})) {
    switch (name.toLowerCase()) {
      case 'version':
        if (field !== null) info.version = integer(field);
        break;
      case 'meshkey':
        if (typeof field !== 'string' || !isMeshKey(field)) throw new ProtocolError('invalid mesh key in ClientInfo');
        info.meshKey = field.toLowerCase();
        break;
      case 'canackpings':
        if (field !== null) info.canAckPings = boolean(field);
        break;
      case 'isprober':
        if (field !== null) info.isProber = boolean(field);
        break;
      case 'appname':
        if (field !== null) info.appName = appName(field);
        break;
    }
  }
  return info;
}

function integer(field: unknown): number {
  if (!Number.isSafeInteger(field)) throw new ProtocolError('ClientInfo version is not an integer');
  return field as number;
}

function boolean(field: unknown): boolean {
  if (typeof field !== 'boolean') throw new ProtocolError('a ClientInfo flag is not a boolean');
  return field;
}

function appName(field: unknown): string {
  if (typeof field !== 'string' || field.length > MAX_APP_NAME_LENGTH || !/^[\x20-\x7e]*$/.test(field)) {
    throw new ProtocolError('invalid app name in ClientInfo');
  }
  return field;
}

function sharedKeyOf(privateKey: Uint8Array, publicKey: NodeKey): Uint8Array {
  const shared = nacl.box.before(nodeKeyBytes(publicKey), privateKey);
  if (Buffer.compare(shared, DEGENERATE_KEY) === 0) throw new ProtocolError('the key is of low order');
  return shared;
}

function openBox(sealed: Buffer, sharedKey: Uint8Array): Buffer | undefined {
  const text = nacl.box.open.after(sealed.subarray(NONCE_LENGTH), sealed.subarray(0, NONCE_LENGTH), sharedKey);
  return text ? Buffer.from(text.buffer, text.byteOffset, text.byteLength) : undefined;
}

function sealBox(text: Uint8Array, sharedKey: Uint8Array, into: Buffer, offset: number): void {
  const nonce = nacl.randomBytes(NONCE_LENGTH);
  into.set(nonce, offset);
  into.set(nacl.box.after(text, nonce, sharedKey), offset + NONCE_LENGTH);
}
