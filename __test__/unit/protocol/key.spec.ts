import { describe, expect, it } from 'vitest';
import * as keys from '../../../src/protocol/key.js';
import { busyTime } from '../../helpers/wait.js';
import { bytes, cases, nodeKey, vectors } from '../vectors.js';

const pairs = cases(vectors.keys).filter(([, pair]) => pair.private !== undefined);

describe('key pairs', () => {
  it.each(pairs)('the key pair %s has the public key that upstream derives', (_name, pair) => {
    expect(keys.nodeKeyHex(keys.keyPairOf(bytes(pair.private)).publicKey)).toBe(pair.public);
  });

  it('generated private keys are clamped, and differ', () => {
    const made = Array.from({ length: 64 }, () => keys.generateKeyPair());
    for (const { privateKey } of made) {
      expect((privateKey[0] as number) & 0b111).toBe(0);
      expect((privateKey[31] as number) & 0b1100_0000).toBe(0b0100_0000);
    }
    expect(new Set(made.map(({ publicKey }) => publicKey)).size).toBe(64);
  });
});

describe('private keys as text', () => {
  it.each(cases(vectors.keyText.privateText))(
    'the text of a private key is read as upstream does: %s',
    (name, { text, ok, hex }) => {
      const parsed = keys.parsePrivateKey(text);
      // Upstream reads an all-zero key, and then ends at the first login.
      if (name === 'allZero') expect(parsed).toBeUndefined();
      else expect(parsed && Buffer.from(parsed).toString('hex')).toBe(ok ? hex : undefined);
    },
  );

  it.each(pairs)('the private key %s is written as the text that was read', (_name, pair) => {
    const text = `privkey:${pair.private}`;
    expect(keys.formatPrivateKey(keys.parsePrivateKey(text) as Uint8Array)).toBe(text);
  });
});

describe('public keys as text', () => {
  it.each(pairs)('the public key %s is written with the prefix nodekey:', (_name, pair) => {
    expect(keys.formatNodeKey(nodeKey(pair.public))).toBe(`nodekey:${pair.public}`);
  });

  it('upstream reads the text of a public key', () => {
    const { text, hex } = vectors.keyText.publicText.values.bob as { text: string; hex: string };
    expect(keys.formatNodeKey(nodeKey(hex))).toBe(text);
  });

  it.each(cases(vectors.keyText.shortForm))('the short form of a key is upstream’s: %s', (name, vector) => {
    // Upstream prints nothing for the zero key; a log line is better with something in it.
    expect(keys.shortKey(nodeKey(vector.public))).toBe(name === 'allZero' ? '[AAAAA]' : vector.short);
  });
});

describe('node keys', () => {
  it('a node key carries every byte value, at any offset', () => {
    const all = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    for (let offset = 0; offset + 32 <= 256; offset += 32) {
      const key = keys.readNodeKey(all, offset);
      expect(key).toHaveLength(32);
      expect(keys.nodeKeyBytes(key)).toEqual(all.subarray(offset, offset + 32));
      const into = Buffer.alloc(40, 0xaa);
      keys.writeNodeKey(key, into, 4);
      expect(into).toEqual(
        Buffer.concat([Buffer.alloc(4, 0xaa), all.subarray(offset, offset + 32), Buffer.alloc(4, 0xaa)]),
      );
    }
  });

  it('a node key is zero only if every byte is zero', () => {
    expect(keys.isZeroKey(nodeKey('00'.repeat(32)))).toBe(true);
    for (const at of [0, 15, 31]) {
      const almost = Buffer.alloc(32);
      almost[at] = 1;
      expect(keys.isZeroKey(keys.readNodeKey(almost))).toBe(false);
    }
  });
});

describe('mesh keys', () => {
  it.each(cases(vectors.meshKeys))(
    'an operator’s mesh key is read as upstream does: %s',
    (_name, { text, ok, hex }) => {
      expect(keys.parseMeshKey(text)).toBe(ok ? hex : undefined);
    },
  );

  it.each(cases(vectors.meshKeys))('a mesh key in a ClientInfo is not trimmed: %s', (_name, { text }) => {
    expect(keys.isMeshKey(text)).toBe(/^[0-9a-f]{64}$/i.test(text));
  });

  it('a mesh key with much space takes no quadratic time', () => {
    const space = ' '.repeat(1 << 20);
    const busy = busyTime(() => {
      expect(keys.parseMeshKey(`${space}x`)).toBeUndefined();
      expect(keys.parseMeshKey(`x${space}x`)).toBeUndefined();
    });
    expect(busy).toBeLessThan(500);
  });
});
