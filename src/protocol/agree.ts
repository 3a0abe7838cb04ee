/**
 * What two keys have in common, as NaCl's boxes use it. X25519 is Node's, which is OpenSSL's: in JavaScript it would take six
 * times as long, on the thread that everything else waits for.
 */
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import nacl from 'tweetnacl';
import { KEY_LENGTH } from './wire.js';

// What stands before the 32 bytes of a key in DER.
const PRIVATE = Buffer.from('302e020100300506032b656e04220420', 'hex');
const PUBLIC = Buffer.from('302a300506032b656e032100', 'hex');

/** tweetnacl has it, its types do not. */
const { crypto_core_hsalsa20: hsalsa20 } = (
  nacl as unknown as {
    lowlevel: { crypto_core_hsalsa20(out: Uint8Array, input: Uint8Array, key: Uint8Array, sigma: Uint8Array): void };
  }
).lowlevel;
const SIGMA = Buffer.from('expand 32-byte k');
const ZERO = new Uint8Array(16);

/** A relay has one, and to make one costs as much as to use it. */
const known = new WeakMap<Uint8Array, KeyObject>();

function keyObject(privateKey: Uint8Array): KeyObject {
  let object = known.get(privateKey);
  if (!object) {
    object = createPrivateKey({ key: Buffer.concat([PRIVATE, privateKey]), format: 'der', type: 'pkcs8' });
    known.set(privateKey, object);
  }
  return object;
}

/** The 32 bytes of the public half. */
export function publicBytes(privateKey: Uint8Array): Buffer {
  return createPublicKey(keyObject(privateKey)).export({ format: 'der', type: 'spki' }).subarray(PUBLIC.length);
}

/** The key of the boxes between the two; `undefined` if the public one is of low order, which leads to the same for everyone. */
export function agree(privateKey: Uint8Array, publicKey: Buffer): Uint8Array | undefined {
  const publicObject = createPublicKey({ key: Buffer.concat([PUBLIC, publicKey]), format: 'der', type: 'spki' });
  let secret: Buffer;
  try {
    secret = diffieHellman({ privateKey: keyObject(privateKey), publicKey: publicObject });
  } catch {
    return undefined;
  }
  const shared = new Uint8Array(KEY_LENGTH);
  hsalsa20(shared, ZERO, secret, SIGMA);
  return shared;
}
