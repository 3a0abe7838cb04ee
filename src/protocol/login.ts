/**
 * The login: ClientInfo and ServerInfo, JSON in NaCl boxes. Opening a ClientInfo proves that the client holds its key.
 */
import nacl from 'tweetnacl';
import { LoginError } from './decode.js';
import { newFrame } from './frame.js';
import { isMeshKey, isZeroKey, type KeyPair, type NodeKey, nodeKeyBytes, readNodeKey, writeNodeKey } from './key.js';
import { membersOf } from './members.js';
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
import { agree } from './x25519.js';

/** The checked fields of a client's ClientInfo. */
export interface ClientInfo {
  readonly version: number;
  /** 64 lower-case hex digits if the client presented a mesh key, right or wrong: admission compares it. */
  readonly meshKey: string | undefined;
  readonly canAckPings: boolean;
  readonly isProber: boolean;
  /** Printable ASCII, at most 32 characters; empty if the client sent none. */
  readonly appName: string;
}

/** A ClientInfo whose box opened, and the shared key that seals the answer. */
export interface OpenedLogin {
  readonly key: NodeKey;
  readonly info: ClientInfo;
  readonly sharedKey: Uint8Array;
}

/** Opens the body of a ClientInfo frame. Throws {@link LoginError} where the login has to fail. */
export function openClientInfo(body: Buffer, serverPrivateKey: Uint8Array): OpenedLogin {
  const key = readNodeKey(body);
  if (isZeroKey(key)) throw new LoginError('bad_key', 'the client key is zero');
  const sharedKey = sharedKeyOf(serverPrivateKey, key);
  const json = openBox(body.subarray(KEY_LENGTH), sharedKey);
  if (!json) throw new LoginError('bad_box', 'the ClientInfo box does not open');
  return { key, info: parseClientInfo(json), sharedKey };
}

/** Makes a ServerInfo frame, sealed with the shared key of an {@link OpenedLogin}. */
export function sealServerInfo(sharedKey: Uint8Array): Buffer {
  const json = Buffer.from(JSON.stringify({ version: PROTOCOL_VERSION }));
  const frame = newFrame(FrameType.ServerInfo, NONCE_LENGTH + BOX_OVERHEAD + json.length);
  sealBox(json, sharedKey, frame, HEADER_LENGTH);
  return frame;
}

/** The client's side: makes a ClientInfo frame for the server with `serverKey`. Sends `json` unchanged. */
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
 * Reads ClientInfo's JSON as Go's decoder does. Field names match in any case. If a name appears several times, every
 * value is checked and the last one counts. Unknown names are ignored, `null` leaves a field unset, and a wrong type
 * fails the login.
 */
export function parseClientInfo(json: Uint8Array): ClientInfo {
  // As in Go, invalid UTF-8 is replaced. A byte order mark stays in the text, and the parser refuses it.
  const text = new TextDecoder('utf-8', { ignoreBOM: true }).decode(json);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LoginError('bad_info', 'ClientInfo is not JSON', { cause });
  }
  if (value !== null && (typeof value !== 'object' || Array.isArray(value))) {
    throw new LoginError('bad_info', 'ClientInfo is not a JSON object');
  }
  const info = {
    version: 0,
    meshKey: undefined as string | undefined,
    canAckPings: false,
    isProber: false,
    appName: '',
  };
  for (const [name, field] of membersOfInfo(text)) {
    // Go compares by Unicode's simple folding, which the flags `iu` also do.
    if (/^meshKey$/iu.test(name)) info.meshKey = meshKey(field);
    else if (field === 'null') continue;
    else if (/^version$/iu.test(name)) info.version = integer(field);
    else if (/^CanAckPings$/iu.test(name)) info.canAckPings = boolean(field);
    else if (/^IsProber$/iu.test(name)) info.isProber = boolean(field);
    else if (/^AppName$/iu.test(name)) info.appName = string(field);
  }
  // Of several names only the last has to be a proper one.
  if (!isAppName(info.appName)) throw new LoginError('bad_info', 'invalid app name in ClientInfo');
  return info;
}

function membersOfInfo(text: string): [name: string, value: string][] {
  try {
    return membersOf(text);
  } catch (cause) {
    throw new LoginError('bad_info', 'ClientInfo is nested too deeply', { cause });
  }
}

function meshKey(field: string): string {
  const key: unknown = JSON.parse(field);
  if (typeof key !== 'string' || !isMeshKey(key)) throw new LoginError('bad_info', 'invalid mesh key in ClientInfo');
  return key.toLowerCase();
}

/** Reads an integer as Go's `int` accepts it: no fraction, no exponent, at most 64 bits. */
function integer(field: string): number {
  const value = /^-?\d{1,19}$/.test(field) ? BigInt(field) : undefined;
  if (value === undefined || BigInt.asIntN(64, value) !== value) {
    throw new LoginError('bad_info', 'ClientInfo version is not an integer');
  }
  return Number(value);
}

function boolean(field: string): boolean {
  if (field !== 'true' && field !== 'false') throw new LoginError('bad_info', 'a ClientInfo flag is not a boolean');
  return field === 'true';
}

function string(field: string): string {
  const value: unknown = JSON.parse(field);
  if (typeof value !== 'string') throw new LoginError('bad_info', 'a ClientInfo text is not a string');
  return value;
}

function isAppName(name: string): boolean {
  return name.length <= MAX_APP_NAME_LENGTH && /^[\x20-\x7e]*$/.test(name);
}

function sharedKeyOf(privateKey: Uint8Array, publicKey: NodeKey): Uint8Array {
  const shared = agree(privateKey, nodeKeyBytes(publicKey));
  if (!shared) throw new LoginError('bad_key', 'the key is of low order');
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
