/** The directory of certificates: the names of files and what is in them are autocert’s and derper’s. */
import { createPrivateKey, createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ACCOUNT_FILES, CertificateCache } from '../../../../src/control/acme/cache.js';
import { Challenges } from '../../../../src/control/acme/challenges.js';
import { issue } from '../../../helpers/issue.js';
import { temporaryDirectory } from '../../temp.js';

const root = temporaryDirectory();
let count = 0;

function fresh(): { cache: CertificateCache; path: (name: string) => string; text: (name: string) => string } {
  count += 1;
  const directory = join(root, String(count), 'certs');
  const path = (name: string) => join(directory, name);
  return { cache: new CertificateCache(directory), path, text: (name) => readFileSync(path(name), 'utf8') };
}

const mode = (path: string) => statSync(path).mode & 0o777;
const SEC1 = /^-----BEGIN EC PRIVATE KEY-----\n[^-]+-----END EC PRIVATE KEY-----\n/;

describe('an account key', () => {
  it('an account key is made once, under the first name, for this user alone', async () => {
    const { cache, path, text } = fresh();
    const key = await cache.accountKey(ACCOUNT_FILES.dns);
    expect(text('acme_account+key')).toMatch(SEC1);
    expect(mode(path('acme_account+key'))).toBe(0o600);
    expect(key.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect((await cache.accountKey(ACCOUNT_FILES.dns)).equals(key)).toBe(true);
  });

  it('an account key under the second name is used, and no new one is made', async () => {
    const { cache, path } = fresh();
    mkdirSync(path('.'), { recursive: true });
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(path('acme_account.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
    expect((await cache.accountKey(ACCOUNT_FILES.dns)).equals(privateKey)).toBe(true);
    expect(readdirSync(path('.'))).toEqual(['acme_account.key']);
  });

  it('the account key for addresses is a separate one', async () => {
    const { cache, path } = fresh();
    await cache.accountKey(ACCOUNT_FILES.ip);
    expect(readdirSync(path('.'))).toEqual(['acme-account.key']);
  });

  it('a malformed account key is an error that names its file', async () => {
    const { cache, path } = fresh();
    mkdirSync(path('.'), { recursive: true });
    writeFileSync(path('acme_account+key'), 'no key');
    await expect(cache.accountKey(ACCOUNT_FILES.dns)).rejects.toThrow(
      `${path('acme_account+key')}: there is no private key in PEM`,
    );
  });
});

describe('a certificate', () => {
  const { pem: chain, privateKey } = issue({ subject: 'a.test', names: ['a.test'] });
  const blocks = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n/g)?.join('') as string;

  it('the certificate of a name is one file, key first, with nothing around the certificates', async () => {
    const { cache, path, text } = fresh();
    await cache.writeName('a.test', privateKey, `words\n${chain}\nmore words`);
    expect(text('a.test')).toMatch(SEC1);
    expect(text('a.test').replace(SEC1, '')).toBe(blocks);
    expect(mode(path('a.test'))).toBe(0o600);
    const read = await cache.readName('a.test');
    expect(read).toEqual({ chain: text('a.test'), key: text('a.test') });
    expect(createPublicKey(createPrivateKey(read?.key as string)).equals(createPublicKey(privateKey))).toBe(true);
  });

  it('the certificate of a name is followed by those of the authorities, without a word between them', async () => {
    const { cache, text } = fresh();
    const ca = issue({ subject: 'ca', ca: true });
    const leaf = issue({ subject: 'a.test', names: ['a.test'], by: ca });
    await cache.writeName('a.test', leaf.privateKey, `${leaf.pem}issuer=ca\n\n${ca.pem}`);
    expect(text('a.test').replace(SEC1, '')).toBe(leaf.pem + ca.pem);
  });

  it('a name may have a second certificate, for clients without ECDSA', async () => {
    const { cache, path } = fresh();
    await cache.writeName('a.test', privateKey, chain);
    expect(await cache.readName('a.test', true)).toBeUndefined();
    writeFileSync(path('a.test+rsa'), 'rsa');
    expect(await cache.readName('a.test', true)).toEqual({ chain: 'rsa', key: 'rsa' });
    expect(await cache.readName('b.test')).toBeUndefined();
  });

  it('the certificate of an address is two files, and the key is for this user alone', async () => {
    const { cache, path, text } = fresh();
    await cache.writeAddress('2001:db8::1', privateKey, chain);
    expect(readdirSync(path('.')).sort()).toEqual(['2001.db8..1.crt', '2001.db8..1.key']);
    expect([mode(path('2001.db8..1.crt')), mode(path('2001.db8..1.key'))]).toEqual([0o644, 0o600]);
    expect(await cache.readAddress('2001:db8::1')).toEqual({ chain: blocks, key: text('2001.db8..1.key') });
  });

  it.each(['crt', 'key'])('an address without its %s has no certificate', async (which) => {
    const { cache, path } = fresh();
    await cache.writeAddress('192.0.2.1', privateKey, chain);
    writeFileSync(path('192.0.2.2.key'), 'x');
    writeFileSync(path('192.0.2.3.crt'), 'x');
    expect(await cache.readAddress('192.0.2.1')).toBeDefined();
    expect(await cache.readAddress(which === 'crt' ? '192.0.2.2' : '192.0.2.3')).toBeUndefined();
  });

  it('only one relay orders a certificate at a time', async () => {
    const { cache, path } = fresh();
    const release = await cache.lock('2001:db8::1');
    expect(existsSync(path('2001.db8..1+lock'))).toBe(true);
    expect(await cache.lock('2001:db8::1')).toBeUndefined();
    await release?.();
  });
});

describe('what an order leaves', () => {
  it('the record of an order is one file, for this user alone, until it is removed', async () => {
    const { cache, path, text } = fresh();
    expect(await cache.attempt('2001:db8::1')).toBeUndefined();
    await cache.putAttempt('2001:db8::1', 'three failures');
    expect(cache.attemptPath('2001:db8::1')).toBe(path('2001.db8..1+order'));
    expect(text('2001.db8..1+order')).toBe('three failures');
    expect(mode(path('2001.db8..1+order'))).toBe(0o600);
    expect(await cache.attempt('2001:db8::1')).toBe('three failures');
    await cache.removeAttempt('2001:db8::1');
    expect(readdirSync(path('.'))).toEqual([]);
  });

  it('the answer to a TLS challenge is one file, key first, for this user alone, until it is removed', async () => {
    const { cache, path, text } = fresh();
    expect(await cache.challenge('a.test')).toBeUndefined();
    const { pem, privateKey } = issue({ subject: 'a.test' });
    await cache.putChallenge('a.test', new X509Certificate(pem).raw, privateKey);
    expect(text('a.test+token')).toMatch(SEC1);
    expect(text('a.test+token').replace(SEC1, '')).toBe(pem);
    expect(mode(path('a.test+token'))).toBe(0o600);
    expect(await cache.challenge('a.test')).toEqual({ chain: text('a.test+token'), key: text('a.test+token') });
    await cache.removeChallenge('a.test');
    expect(readdirSync(path('.'))).toEqual([]);
  });

  it('what is not there is removed without an error', async () => {
    const { cache, path } = fresh();
    await cache.removeToken('token');
    await cache.removeChallenge('a.test');
    await cache.removeAttempt('a.test');
    expect(existsSync(path('.'))).toBe(false);
  });
});

describe('a challenge', () => {
  const account = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;

  it('an HTTP challenge is answered here and by relays that share the directory, until it ends', async () => {
    const { cache, path } = fresh();
    const here = new Challenges(cache, () => {});
    const there = new Challenges(new CertificateCache(cache.directory), () => {});
    expect(await here.answer('token')).toBeUndefined();
    const done = await here.http(account).present('a.test', 'token');
    const answer = await here.answer('token');
    expect(answer).toMatch(/^token\.[\w-]{43}$/);
    expect(await there.answer('token')).toBe(answer);
    expect(mode(path('token+http-01'))).toBe(0o600);
    await done();
    expect(await here.answer('token')).toBeUndefined();
    expect(await there.answer('token')).toBeUndefined();
    expect(readdirSync(path('.'))).toEqual([]);
  });

  it.each(['', 'a/b', '../secret', 'a.b', 'x'.repeat(257), 'token\n'])(
    'an HTTP challenge for the token %j has no answer',
    async (token) => {
      const { cache, path } = fresh();
      mkdirSync(path('.'), { recursive: true });
      writeFileSync(path('secret+http-01'), 'elsewhere');
      writeFileSync(path('..').concat('/secret+http-01'), 'elsewhere');
      expect(await new Challenges(cache, () => {}).answer(token)).toBeUndefined();
    },
  );

  it('a TLS challenge is answered here and by relays that share the directory, until it ends', async () => {
    const { cache } = fresh();
    let changes = 0;
    const changed = () => {
      changes += 1;
    };
    const here = new Challenges(cache, changed);
    const there = new Challenges(new CertificateCache(cache.directory), changed);
    expect(await there.shared('a.test')).toBe(false);
    const done = await here.tlsAlpn(account).present('a.test', 'token');
    expect(changes).toBe(1);
    expect(here.certificates).toMatchObject([{ names: ['a.test'], alpn: 'acme-tls/1' }]);
    expect(await here.shared('a.test')).toBe(true);
    expect(changes).toBe(1);
    expect(await there.shared('a.test')).toBe(true);
    expect(changes).toBe(2);
    expect(there.certificates).toEqual(here.certificates);
    await done();
    expect(changes).toBe(3);
    expect(here.certificates).toEqual([]);
    expect(await here.shared('a.test')).toBe(false);
  });

  it('a broken file answers no TLS challenge', async () => {
    const { cache, path } = fresh();
    mkdirSync(path('.'), { recursive: true });
    writeFileSync(path('a.test+token'), 'nothing');
    const challenges = new Challenges(cache, () => {});
    expect(await challenges.shared('a.test')).toBe(false);
    expect(challenges.certificates).toEqual([]);
  });

  it('a DNS challenge calls the hook to set and to remove the record, even if the removal fails', async () => {
    const { cache } = fresh();
    const calls: string[][] = [];
    const hook = async (...call: string[]) => {
      calls.push(call);
      if (call[0] === 'cleanup') throw new Error('gone');
    };
    const solver = new Challenges(cache, () => {}).dns(account, hook);
    const done = await solver.present('a.test', 'token');
    await done();
    const [present, cleanup] = calls;
    expect(present).toEqual(['present', '_acme-challenge.a.test', expect.stringMatching(/^[\w-]{43}$/)]);
    expect(cleanup).toEqual(['cleanup', ...(present?.slice(1) ?? [])]);
  });
});
