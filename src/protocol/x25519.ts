/**
 * The shared key of two key pairs, as NaCl's boxes use it. Node computes X25519 with OpenSSL, because JavaScript takes
 * twelve times as long on the thread that every login waits for. HSalsa20, which derives the box key from the result,
 * is in no public interface of Node or tweetnacl.
 */
import { createPrivateKey, createPublicKey, diffieHellman, type JsonWebKey, type KeyObject } from 'node:crypto';
import { hsalsa } from '@noble/ciphers/salsa';
import nacl from 'tweetnacl';
import { KEY_LENGTH } from './wire.js';

interface PrivateHalf {
  readonly object: KeyObject;
  readonly publicBytes: Uint8Array;
}

const SIGMA = words(Buffer.from('expand 32-byte k'));
const ZERO = new Uint32Array(4);

/** Imported private keys. A relay has one, and an import costs as much as a computation. */
const known = new WeakMap<Uint8Array, PrivateHalf>();

function privateHalf(privateKey: Uint8Array): PrivateHalf {
  let half = known.get(privateKey);
  if (!half) {
    const publicBytes = nacl.scalarMult.base(privateKey);
    const key = { ...jwk(publicBytes), d: Buffer.from(privateKey).toString('base64url') };
    half = { object: createPrivateKey({ key, format: 'jwk' }), publicBytes };
    known.set(privateKey, half);
  }
  return half;
}

function jwk(publicKey: Uint8Array): JsonWebKey {
  return { kty: 'OKP', crv: 'X25519', x: Buffer.from(publicKey).toString('base64url') };
}

/** The 32 bytes of the public key of a private key. */
export function publicBytes(privateKey: Uint8Array): Buffer {
  return Buffer.from(privateHalf(privateKey).publicBytes);
}

/**
 * The 32 bytes of the box key. `undefined` for a public key of low order: with it every private key gives the same
 * result.
 */
export function agree(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array | undefined {
  let secret: Buffer;
  try {
    const other = createPublicKey({ key: jwk(publicKey), format: 'jwk' });
    secret = diffieHellman({ privateKey: privateHalf(privateKey).object, publicKey: other });
  } catch {
    return undefined;
  }
  const shared = new Uint8Array(KEY_LENGTH);
  hsalsa(SIGMA, words(secret), ZERO, new Uint32Array(shared.buffer));
  return shared;
}

function words(bytes: Uint8Array): Uint32Array {
  return new Uint32Array(Uint8Array.from(bytes).buffer);
}
