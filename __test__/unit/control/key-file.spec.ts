import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatKeyFile, loadKey, loadMeshKey, makeKey } from '../../../src/control/key-file.js';
import { keyPairOf, nodeKeyHex } from '../../../src/protocol/key.js';
import { temporaryDirectory } from '../temp.js';
import { bytes, cases, vectors } from '../vectors.js';

const root = temporaryDirectory();
const { private: hex = '', public: publicHex } = vectors.keys.values.server ?? {};
let count = 0;

/** As a relay does it: the key that is there, or a new one. */
async function key(path: string) {
  return (await loadKey(path)) ?? makeKey(path);
}

function file(text?: string): string {
  const path = join(root, `${count++}`, 'derper.key');
  mkdirSync(join(path, '..'));
  if (text !== undefined) writeFileSync(path, text);
  return path;
}

describe('new key files', () => {
  it('a new key file has derper’s form to the byte', () => {
    const keys = keyPairOf(bytes(hex));
    expect(formatKeyFile(keys)).toBe(`{\n\t"PrivateKey": "privkey:${hex}"\n}`);
  });

  it('a new key file is for its owner alone, and read again the next time', async () => {
    const path = join(root, 'not', 'yet', 'there', 'derper.key');
    const made = await key(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readFileSync(path, 'utf8')).toBe(formatKeyFile(made));
    expect(readdirSync(join(path, '..'))).toEqual(['derper.key']);
    expect((await key(path)).publicKey).toBe(made.publicKey);
  });

  it('each new key file has another key', async () => {
    const [first, second] = await Promise.all([key(file()), key(file())]);
    expect(first.publicKey).not.toBe(second.publicKey);
  });
});

describe('forms of key files', () => {
  it.each([
    ['as derper writes it', `{\n\t"PrivateKey": "privkey:${hex}"\n}`],
    ['on one line', `{"PrivateKey":"privkey:${hex}"}`],
    ['with a final newline', `{"PrivateKey":"privkey:${hex}"}\n`],
    ['with hex in upper case', `{"PrivateKey":"privkey:${hex.toUpperCase()}"}`],
    ['with its name in another case', `{"privatekey":"privkey:${hex}"}`],
    ['with further fields', `{"Comment":[1,{}],"PrivateKey":"privkey:${hex}","X":null}`],
    ['with two spellings of the name, of which the last counts', `{"PRIVATEKEY":"x","PrivateKey":"privkey:${hex}"}`],
  ])('a key file is read %s', async (_name, text) => {
    const path = file(text);
    expect(nodeKeyHex((await key(path)).publicKey)).toBe(publicHex);
    // Reading changes nothing.
    expect(readFileSync(path, 'utf8')).toBe(text);
  });
});

describe('unusable key files', () => {
  const secret = hex.slice(0, 60);

  it.each([
    ['empty', ''],
    ['no JSON', `PrivateKey=privkey:${hex}`],
    ['cut short', `{"PrivateKey":"privkey:${hex}`],
    ['null', 'null'],
    ['a list', `["privkey:${hex}"]`],
    ['a text', `"privkey:${hex}"`],
    ['an empty object', '{}'],
    ['another name', `{"Key":"privkey:${hex}"}`],
    ['no prefix', `{"PrivateKey":"${hex}"}`],
    ['the prefix of a public key', `{"PrivateKey":"nodekey:${hex}"}`],
    ['a digit too few', `{"PrivateKey":"privkey:${hex.slice(1)}"}`],
    ['a digit too many', `{"PrivateKey":"privkey:${hex}0"}`],
    ['a blank', `{"PrivateKey":"privkey:${hex} "}`],
    ['a number', '{"PrivateKey":1}'],
    ['a key in a list', `{"PrivateKey":["privkey:${hex}"]}`],
    ['an all-zero key', `{"PrivateKey":"privkey:${'0'.repeat(64)}"}`],
  ])('an unusable key file is left alone, and never quoted: %s', async (_name, text) => {
    const path = file(text);
    const error = await key(path).catch((caught: Error) => caught);
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message).toMatch(/^not a key file: /);
    expect((error as Error).message).not.toContain(secret);
    expect(readFileSync(path, 'utf8')).toBe(text);
  });

  it('a directory is no key file', async () => {
    await expect(key(root)).rejects.toThrow(/EISDIR/);
  });
});

describe('a mesh key file', () => {
  it.each(cases(vectors.meshKeys))(
    'a mesh key file is read as upstream does: %s',
    async (_name, { text, ok, hex: key }) => {
      const loaded = loadMeshKey(file(text));
      if (ok) await expect(loaded).resolves.toBe(key);
      else await expect(loaded).rejects.toThrow('invalid mesh key');
    },
  );

  it('a missing mesh key file is an error, and is not made', async () => {
    const path = file();
    await expect(loadMeshKey(path)).rejects.toThrow('no such file');
    expect(readdirSync(join(path, '..'))).toEqual([]);
  });

  it('a mesh key file is never quoted', async () => {
    await expect(loadMeshKey(file('5ec4e7'))).rejects.toThrow(/^(?!.*5ec4e7)/);
  });
});

describe('key files that cannot be made', () => {
  it('a key file that cannot be made is an error with the reason', async () => {
    // No user can make a file there, whatever its rights.
    await expect(key('/proc/none/derper.key')).rejects.toThrow(/^there is no such file, and it cannot be made: ./);
    await expect(key('/proc/none/derper.key')).rejects.toMatchObject({ cause: { code: 'ENOENT' } });
  });
});
