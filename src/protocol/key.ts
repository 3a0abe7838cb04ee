/**
 * Keys. A node key travels through the relay as a string of 32 latin1 characters, one a byte: it hashes and compares
 * natively in a `Map` and costs 48 bytes of heap, where a Buffer costs several times that.
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

/** `nodekey:` and 64 lower-case hex digits. */
export function formatNodeKey(key: NodeKey): string {
  return `nodekey:${nodeKeyHex(key)}`;
}

/** 64 lower-case hex digits. */
export function nodeKeyHex(key: NodeKey): string {
  return nodeKeyBytes(key).toString('hex');
}

/** The inverse of {@link nodeKeyHex}, in either case. `undefined` where the text is anything else. */
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

/** `privkey:` and 64 lower-case hex digits: what derper's key file holds. */
export function formatPrivateKey(privateKey: Uint8Array): string {
  return `privkey:${Buffer.from(privateKey).toString('hex')}`;
}

/** The inverse of {@link formatPrivateKey}; hex in either case. `undefined` where the text is anything else or all zero. */
export function parsePrivateKey(text: string): Uint8Array | undefined {
  const hex = /^privkey:([0-9a-fA-F]{64})$/.exec(text)?.[1];
  if (!hex) return undefined;
  const bytes = Buffer.from(hex, 'hex');
  if (bytes.every((byte) => byte === 0)) return undefined;
  return new Uint8Array(bytes);
}

/** A mesh key as an operator writes it: 64 hex digits in either case, blanks around them. Lower case, or `undefined`. */
export function parseMeshKey(text: string): string | undefined {
  // The blanks of Unicode, as Go trims them; JavaScript's own notion counts the byte order mark in, and U+0085 out.
  return /^\p{White_Space}*([0-9a-fA-F]{64})\p{White_Space}*$/u.exec(text)?.[1]?.toLowerCase();
}

/** A mesh key as it travels in a ClientInfo: exactly 64 hex digits, nothing around them. */
export function isMeshKey(text: string): boolean {
  return /^[0-9a-fA-F]{64}$/.test(text);
}

function clamp(privateKey: Uint8Array): void {
  privateKey[0] = (privateKey[0] as number) & 248;
  privateKey[31] = ((privateKey[31] as number) & 127) | 64;
}
