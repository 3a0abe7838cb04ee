import { reasonOf } from '../errors.js';
import {
  formatPrivateKey,
  generateKeyPair,
  type KeyPair,
  keyPairOf,
  parseMeshKey,
  parsePrivateKey,
} from '../protocol/key.js';
import { makeParent, readIfThere, writeFileAtomic } from './files.js';

/** Makes a key file in derper's format, atomically, with the mode 0600. Throws an Error if it cannot be made. */
export async function makeKey(path: string): Promise<KeyPair> {
  const keys = generateKeyPair();
  try {
    await makeParent(path);
    await writeFileAtomic(path, formatKeyFile(keys), 0o600);
  } catch (error) {
    throw new Error(`there is no such file, and it cannot be made: ${reasonOf(error)}`, { cause: error });
  }
  return keys;
}

/** Reads a key file in derper's format; `undefined` if there is none. Throws an Error that says what is wrong with it. */
export async function loadKey(path: string): Promise<KeyPair | undefined> {
  const text = await readIfThere(path);
  return text === undefined ? undefined : parseKeyFile(text);
}

/** The key file exactly as derper writes it: JSON with tabs, without a final newline. */
export function formatKeyFile(keys: KeyPair): string {
  return JSON.stringify({ PrivateKey: formatPrivateKey(keys.privateKey) }, null, '\t');
}

function parseKeyFile(text: string): KeyPair {
  let fields: [string, unknown][];
  try {
    fields = Object.entries(JSON.parse(text) ?? {});
  } catch {
    throw new Error('not a key file: it is not JSON');
  }
  const value = fields.findLast(([name]) => name.toLowerCase() === 'privatekey')?.[1];
  const privateKey = typeof value === 'string' ? parsePrivateKey(value) : undefined;
  if (!privateKey) throw new Error('not a key file: it has no "PrivateKey" of the form privkey:<64 hex digits>');
  return keyPairOf(privateKey);
}

/** Reads a mesh key. Throws an Error that says what is wrong with the file, without repeating its contents. */
export async function loadMeshKey(path: string): Promise<string> {
  const text = await readIfThere(path);
  if (text === undefined) throw new Error('there is no such file');
  const key = parseMeshKey(text);
  if (!key) throw new Error('invalid mesh key: 64 hex digits are needed');
  return key;
}
