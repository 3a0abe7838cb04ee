import { createHmac, hkdfSync } from 'node:crypto';
import nacl from 'tweetnacl';
import { describe, expect, it } from 'vitest';
import { boundTo, Seal } from '../../../../src/control/directory/seal.js';
import { Subjects } from '../../../../src/control/directory/subjects.js';
import type { NodeKey } from '../../../../src/protocol/key.js';

const MESH_KEY = '0123456789abcdef'.repeat(4);
const seal = new Seal(MESH_KEY);
const bound = boundTo('derpkit.test.relays');
const body = Buffer.from('what it says');

describe('a sealed message', () => {
  it('opens under its subject, with its kind and its time', () => {
    const now = 1_790_000_000_123;
    expect(seal.open(seal.seal(7, bound, body, now), bound)).toEqual({ kind: 7, time: now, body });
    expect(seal.open(seal.seal(1, bound, Buffer.alloc(0), 0), bound)).toMatchObject({ body: Buffer.alloc(0) });
  });

  it('is a secretbox under a key that HKDF derives from the mesh key', () => {
    const key = new Uint8Array(hkdfSync('sha256', Buffer.from(MESH_KEY, 'hex'), '', 'derpkit/seal/1', 32));
    const sealed = seal.seal(7, bound, body, 0);
    const opened = nacl.secretbox.open(sealed.subarray(24), sealed.subarray(0, 24), key);
    expect(Buffer.from(opened ?? []).subarray(-body.length)).toEqual(body);
  });

  it('is never the same twice', () => {
    expect(seal.seal(1, bound, body, 0)).not.toEqual(seal.seal(1, bound, body, 0));
  });

  it('does not open under another subject, with another mesh key, or with a bit changed anywhere', () => {
    const sealed = seal.seal(1, bound, body, 0);
    expect(seal.open(sealed, boundTo('derpkit.test.other'))).toBeUndefined();
    expect(new Seal('ab'.repeat(32)).open(sealed, bound)).toBeUndefined();
    for (let at = 0; at < sealed.length; at += 1) {
      const bent = Uint8Array.from(sealed);
      bent[at] = (bent[at] as number) ^ 0x10;
      expect(seal.open(bent, bound)).toBeUndefined();
    }
  });

  it('does not open at any other length', () => {
    const sealed = seal.seal(1, bound, body, 0);
    for (let length = 0; length < sealed.length; length += 1) {
      expect(seal.open(sealed.subarray(0, length), bound)).toBeUndefined();
    }
    expect(seal.open(Buffer.concat([sealed, Buffer.alloc(1)]), bound)).toBeUndefined();
    expect(seal.open(seal.seal(1, bound, Buffer.alloc(1 << 18), 0), bound)).toBeUndefined();
  });

  it('with a time that is none does not open', () => {
    for (const now of [Number.NaN, Number.POSITIVE_INFINITY, 0.5, 2 ** 60]) {
      expect(seal.open(seal.seal(1, bound, body, now), bound)).toBeUndefined();
    }
  });
});

describe('the subjects of a region', () => {
  const subjects = new Subjects('fra', MESH_KEY);
  const key = 'k'.repeat(32) as NodeKey;

  it('those of a key have its HMAC under the mesh key, and both belong to the same messages', () => {
    const hmac = createHmac('sha256', Buffer.from(MESH_KEY, 'hex')).update(`derpkit/1${key}`).digest('hex');
    const { key: subject, news, bound } = subjects.of(key);
    expect({ subject, news }).toEqual({ subject: `derpkit.fra.key.${hmac}`, news: `derpkit.fra.news.${hmac}` });
    for (const one of [subject, news]) expect(Buffer.from(subjects.boundOf(one))).toEqual(Buffer.from(bound));
  });

  it('all of them are below the region', () => {
    const all = [subjects.relays, subjects.relay(key), subjects.inbox, subjects.of(key).key, subjects.of(key).news];
    for (const one of all) expect(one).toMatch(/^derpkit\.fra\./);
    expect(subjects.all).toBe('derpkit.fra.>');
  });

  it.each([
    ['derpkit.fra.inbox.0123456789abcdef01234567.1z', true],
    ['derpkit.fra.inbox.a', false],
    ['derpkit.fra.inbox.a.b.c', false],
    ['derpkit.fra.inbox.*.b', false],
    ['derpkit.fra.inbox.a.>', false],
    ['derpkit.fra.inbox.a.', false],
    ['derpkit.fra.relays', false],
    ['derpkit.ams.inbox.a.b', false],
    ['derpkitxfraxinbox.a.b', false],
    ['$SYS.x.y', false],
    ['', false],
  ])('%j is a subject for answers: %s', (subject, is) => {
    expect(subjects.isForAnswers(subject)).toBe(is);
  });
});
