/**
 * Node, mesh and private keys. A node key is held as a string of 32 latin1 characters, one for each byte: it hashes and
 * compares natively in a `Map` and costs 48 bytes of heap; a Buffer costs several times as much.
 */
import { randomBytes } from 'node:crypto';
import { KEY_LENGTH } from './wire.js';
import { publicBytes } from './x25519.js';

declare const brand: unique symbol;
/** A public node key: 32 latin1 characters. */
export type NodeKey = string & { readonly [brand]: 'NodeKey' };

const ZERO_KEY = '\0'.repeat(KEY_LENGTH);

export function readNodeKey(bytes: Buffer, offset = 0): NodeKey {
  return bytes.toString('latin1', offset, offset + KEY_LENGTH) as NodeKey;
}

export function writeNodeKey(key: NodeKey, into: Buffer, offset: number): void {
  into.write(key, offset, KEY_LENGTH, 'latin1');
}

export function nodeKeyBytes(key: NodeKey): Buffer {
  return Buffer.from(key, 'latin1');
}

export function isZeroKey(key: NodeKey): boolean {
  return key === ZERO_KEY;
}

/** The key as `nodekey:` and 64 lower-case hex digits. */
export function formatNodeKey(key: NodeKey): string {
  return `nodekey:${nodeKeyHex(key)}`;
}

/** The key as 64 lower-case hex digits. */
export function nodeKeyHex(key: NodeKey): string {
  return nodeKeyBytes(key).toString('hex');
}

/** The inverse of {@link nodeKeyHex}; accepts either case. `undefined` for any other text. */
export function parseNodeKeyHex(text: string): NodeKey | undefined {
  return /^[0-9a-fA-F]{64}$/.test(text) ? readNodeKey(Buffer.from(text, 'hex')) : undefined;
}

/** The form for logs: the first five base64 characters in brackets. */
export function shortKey(key: NodeKey): string {
  return `[${nodeKeyBytes(key).toString('base64').slice(0, 5)}]`;
}

/** A relay's or a client's key pair. `privateKey` is 32 clamped X25519 bytes and must never be logged. */
export interface KeyPair {
  readonly privateKey: Uint8Array;
  readonly publicKey: NodeKey;
}

export function generateKeyPair(): KeyPair {
  const privateKey = new Uint8Array(randomBytes(KEY_LENGTH));
  clamp(privateKey);
  return keyPairOf(privateKey);
}

export function keyPairOf(privateKey: Uint8Array): KeyPair {
  return { privateKey, publicKey: readNodeKey(publicBytes(privateKey)) };
}

/** The text of derper's key file: `privkey:` and 64 lower-case hex digits. */
export function formatPrivateKey(privateKey: Uint8Array): string {
  return `privkey:${Buffer.from(privateKey).toString('hex')}`;
}

/**
 * The inverse of {@link formatPrivateKey}; accepts hex in either case. `undefined` for any other text and for the
 * all-zero key.
 */
export function parsePrivateKey(text: string): Uint8Array | undefined {
  const hex = /^privkey:([0-9a-fA-F]{64})$/.exec(text)?.[1];
  if (!hex) return undefined;
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.every((byte) => byte === 0)) return undefined;
  return new Uint8Array(bytes);
}

/**
 * Reads a mesh key as operators write it: 64 hex digits in either case, with white space around them. Returns it in
 * lower case, or `undefined`.
 */
export function parseMeshKey(text: string): string | undefined {
  // Go trims Unicode white space. JavaScript's `trim` differs: it also takes the byte order mark, and leaves U+0085.
  return /^\p{White_Space}*([0-9a-fA-F]{64})\p{White_Space}*$/u.exec(text)?.[1]?.toLowerCase();
}

/** Whether the text is a mesh key as ClientInfo carries it: exactly 64 hex digits. */
export function isMeshKey(text: string): boolean {
  return /^[0-9a-fA-F]{64}$/.test(text);
}

function clamp(privateKey: Uint8Array): void {
  privateKey[0] = (privateKey[0] as number) & 248;
  privateKey[31] = ((privateKey[31] as number) & 127) | 64;
}
