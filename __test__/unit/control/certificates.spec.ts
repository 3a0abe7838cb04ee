import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate, SubjectPublicKeyInfo } from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import {
  keptCertificate,
  manualCertificate,
  type PemPair,
  parsePair,
  servedSet,
  timeProblem,
} from '../../../src/control/certificates.js';
import { selfSignedCertificate } from '../../../src/control/x509.js';
import { issue } from '../../helpers/issue.js';
import { keyOf } from '../plane/context.js';
import { temporaryDirectory } from '../temp.js';

const NOW = new Date('2026-11-23T12:00:00Z');
const DAY = 24 * 60 * 60 * 1000;
const HOST = 'derp.example.com';
const root = temporaryDirectory();
let count = 0;

/** A new directory with these files in it. */
function directory(files: Record<string, string> = {}): string {
  const path = join(root, String(count++));
  mkdirSync(path);
  for (const [name, text] of Object.entries(files)) writeFileSync(join(path, name), text);
  return path;
}

function pairFor(hosts: readonly string[]): PemPair {
  const { der, privateKey } = selfSignedCertificate(hosts, 30, NOW);
  return { chain: new X509Certificate(der).toString(), key: pem(privateKey, 'pkcs8') };
}

const good = pairFor([HOST]);

describe('manual certificates', () => {
  it('manual mode reads the pair named after the host, only for that server name', async () => {
    const path = directory({ [`${HOST}.crt`]: good.chain, [`${HOST}.key`]: good.key });
    const loaded = await manualCertificate(path, HOST, NOW);
    const leaf = new X509Certificate(good.chain);
    expect(loaded.chain).toEqual([leaf.raw]);
    expect(loaded.names).toEqual([HOST]);
    expect(loaded.fingerprint).toBe(createHash('sha256').update(leaf.raw).digest('hex'));
  });

  it('manual mode accepts a wildcard', async () => {
    const wild = pairFor(['*.example.com']);
    const path = directory({ [`${HOST}.crt`]: wild.chain, [`${HOST}.key`]: wild.key });
    await expect(manualCertificate(path, HOST, NOW)).resolves.toMatchObject({ names: [HOST] });
  });

  it.each(['*.internal', '*.lan'])(
    'manual mode accepts the wildcard %s, which Node and OpenSSL refuse',
    async (wildcard) => {
      const host = wildcard.replace('*', 'relay');
      const wild = pairFor([wildcard]);
      const path = directory({ [`${host}.crt`]: wild.chain, [`${host}.key`]: wild.key });
      await expect(manualCertificate(path, host, NOW)).resolves.toMatchObject({ names: [host], validFor: [wildcard] });
    },
  );

  it('manual mode accepts a host name with a final dot, which clients omit', async () => {
    const path = directory({ [`${HOST}..crt`]: good.chain, [`${HOST}..key`]: good.key });
    await expect(manualCertificate(path, `${HOST}.`, NOW)).resolves.toMatchObject({ names: [HOST] });
  });

  it('manual mode also sends what follows the leaf, in order', async () => {
    const between = pairFor(['ca.example.com']).chain;
    const chain = `Some words.\n${good.chain}\nMore words.\n${between}`;
    const path = directory({ [`${HOST}.crt`]: chain, [`${HOST}.key`]: good.key });
    const loaded = await manualCertificate(path, HOST, NOW);
    expect(loaded.chain.map((der) => new X509Certificate(der).subject)).toEqual([`CN=${HOST}`, 'CN=ca.example.com']);
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['both files', {}, /there is no derp\.example\.com\.crt and no derp\.example\.com\.key in \//],
    ['the key', { [`${HOST}.crt`]: good.chain }, /there is no derp\.example\.com\.key in \//],
    ['the certificate', { [`${HOST}.key`]: good.key }, /there is no derp\.example\.com\.crt in \//],
    [
      'a certificate in its file',
      { [`${HOST}.crt`]: 'none', [`${HOST}.key`]: good.key },
      /no certificate in the chain/,
    ],
  ])('manual mode reports a missing %s', async (_name, files, message) => {
    const path = directory(files);
    await expect(manualCertificate(path, HOST, NOW)).rejects.toThrow(message);
    // Nothing is made for a name.
    expect(readdirSync(path).sort()).toEqual(Object.keys(files).sort());
  });

  it('manual mode refuses a certificate of another host, and says what it covers', async () => {
    const other = pairFor(['other.example.com', '192.0.2.1']);
    const path = directory({ [`${HOST}.crt`]: other.chain, [`${HOST}.key`]: other.key });
    await expect(manualCertificate(path, HOST, NOW)).rejects.toThrow(
      /crt is not valid for derp\.example\.com: it is for other\.example\.com, 192\.0\.2\.1$/,
    );
  });

  it('manual mode refuses a certificate without alternative names, whatever its common name is', async () => {
    const { pem: chain, key } = issue({ subject: HOST });
    const path = directory({ [`${HOST}.crt`]: chain, [`${HOST}.key`]: key });
    await expect(manualCertificate(path, HOST, NOW)).rejects.toThrow(
      /crt is not valid for derp\.example\.com: it has no alternative names$/,
    );
  });

  it.each([
    ['crt', 'chain', 'there is no certificate in the chain, or none in PEM'],
    ['key', 'key', 'there is no private key in PEM, or it is broken'],
  ])('manual mode names the file that is not PEM: .%s', async (extension, part, reason) => {
    const files = { [`${HOST}.crt`]: good.chain, [`${HOST}.key`]: good.key, [`${HOST}.${extension}`]: 'none' };
    const path = directory(files);
    await expect(manualCertificate(path, HOST, NOW)).rejects.toMatchObject({
      message: `${join(path, HOST)}.${extension}: ${reason}`,
      cause: { name: 'PemError', part },
    });
  });

  it('manual mode refuses the key of another certificate', async () => {
    const path = directory({ [`${HOST}.crt`]: good.chain, [`${HOST}.key`]: pairFor([HOST]).key });
    await expect(manualCertificate(path, HOST, NOW)).rejects.toThrow('the private key does not belong');
  });

  it('manual mode refuses a malformed key, and does not quote it', async () => {
    const path = directory({ [`${HOST}.crt`]: good.chain, [`${HOST}.key`]: good.key.replace('MIG', 'XXX') });
    const error = await manualCertificate(path, HOST, NOW).catch((caught: Error) => caught);
    expect(error).toBeInstanceOf(Error);
    expect(String(error)).not.toContain(good.key.split('\n')[1]?.slice(3, 30));
  });
});

it('PEM blocks may follow each other without a line end, as in concatenated files', async () => {
  const between = pairFor(['ca.example.com']).chain;
  const glued = { chain: good.chain.trimEnd() + between.trimEnd() + good.chain, key: good.chain.trimEnd() + good.key };
  const path = directory({ [`${HOST}.crt`]: glued.chain, [`${HOST}.key`]: glued.key });
  expect((await manualCertificate(path, HOST, NOW)).chain).toHaveLength(3);
});

describe('PEM in practice', () => {
  const parsed = (chain: string, key: string) => parsePair({ chain, key }, []).fingerprint;
  const { fingerprint } = parsePair(good, []);

  it.each<[string, (text: string) => string]>([
    ['with the line ends of Windows', (text) => text.replaceAll('\n', '\r\n')],
    ['with a byte order mark', (text) => `\ufeff${text}`],
    ['with text around it', (text) => `Bag Attributes\n    friendlyName: x\n${text}\nthe end\n`],
  ])('PEM is read: %s', (_what, change) => {
    expect(parsed(change(good.chain), change(good.key))).toBe(fingerprint);
  });

  it('the key may stand in the chain’s file, before or behind it', () => {
    expect(parsed(good.key + good.chain, good.key + good.chain)).toBe(fingerprint);
    expect(parsed(good.chain + good.key, good.chain + good.key)).toBe(fingerprint);
  });

  it('curve parameters may stand before the key, as OpenSSL writes them', () => {
    const parameters = '-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n';
    expect(parsed(good.chain, parameters + good.key)).toBe(fingerprint);
  });

  it.each(['pkcs8', 'sec1'] as const)('an encrypted key is refused with that word: %s', (type) => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const options = { type, format: 'pem', cipher: 'aes-256-cbc', passphrase: 'secret' };
    const key = privateKey.export(options as never).toString();
    expect(() => parsed(good.chain, key)).toThrow('the private key is encrypted');
    expect(() => parsed(good.chain, key)).toThrow(expect.objectContaining({ name: 'PemError', part: 'key' }));
  });
});

describe('manual certificates of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8::1', '2001db81'],
  ])('manual mode makes a missing pair for an address: %s', async (host, file) => {
    const path = join(directory(), 'certs');
    const made = await manualCertificate(path, host, NOW);
    expect(made.names).toEqual([]);
    expect(readdirSync(path).sort()).toEqual([`${file}.crt`, `${file}.key`]);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, `${file}.crt`)).mode & 0o777).toBe(0o644);
    expect(statSync(join(path, `${file}.key`)).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(path, `${file}.key`), 'utf8')).toMatch(/^-----BEGIN EC PRIVATE KEY-----\n/);
    const leaf = new X509Certificate(readFileSync(join(path, `${file}.crt`)));
    expect(leaf.checkIP(host)).toBe(host);
    expect(Date.parse(leaf.validTo) - NOW.getTime()).toBeCloseTo(365 * DAY, -4);
    // And finds it the next time.
    expect((await manualCertificate(path, host, NOW)).fingerprint).toBe(made.fingerprint);
  });

  it.each(['key', 'crt'])('manual mode makes a new pair for an address if one half is missing: .%s', async (half) => {
    const path = directory();
    const { fingerprint } = await manualCertificate(path, '192.0.2.1', NOW);
    rmSync(join(path, `192.0.2.1.${half}`));
    expect((await manualCertificate(path, '192.0.2.1', NOW)).fingerprint).not.toBe(fingerprint);
  });

  it('manual mode uses the operator’s pair if it covers the address', async () => {
    const own = pairFor(['192.0.2.1']);
    const path = directory({ '192.0.2.1.crt': own.chain, '192.0.2.1.key': own.key });
    expect((await manualCertificate(path, '192.0.2.1', NOW)).chain).toEqual([new X509Certificate(own.chain).raw]);
    const other = directory({ '192.0.2.2.crt': own.chain, '192.0.2.2.key': own.key });
    await expect(manualCertificate(other, '192.0.2.2', NOW)).rejects.toThrow(/not valid for 192\.0\.2\.2/);
  });
});

describe('keys of certificates', () => {
  const rsa = rsaPair();

  it.each<[string, PemPair]>([
    ['PKCS#8', good],
    ['SEC1', { ...good, key: sec1() }],
    ['PKCS#1', { ...rsa.pair, key: pem(rsa.key, 'pkcs1') }],
    ['PKCS#8 of RSA', rsa.pair],
    [
      'SEC1 behind its parameters',
      { ...good, key: `-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n${sec1()}` },
    ],
  ])('a key in %s is converted to PKCS#8', (_name, pair) => {
    const { privateKey, chain } = parsePair(pair, []);
    const key = { key: Buffer.from(privateKey), format: 'der', type: 'pkcs8' } as const;
    const leaf = new X509Certificate(chain[0] as Uint8Array);
    expect(leaf.checkPrivateKey(createPrivateKey(key))).toBe(true);
  });

  it('the kind of a key has its curve, or the bits of RSA', () => {
    expect([good, rsa.pair].map((pair) => parsePair(pair, []).kind)).toEqual([
      'a key of prime256v1',
      'a key of rsa, 2048 bits',
    ]);
  });

  function sec1(): string {
    return pem(createPrivateKey({ key: good.key, format: 'pem' }), 'sec1');
  }
});

describe('the relay’s own certificate', () => {
  const hosts = [HOST, 'localhost', '127.0.0.1', '::1'];
  const serial = (path: string) => new X509Certificate(readFileSync(join(path, 'derpkit.crt'))).serialNumber;

  it('the relay’s own certificate is made once, for any server name, and kept', async () => {
    const path = join(directory(), 'certs');
    const made = await keptCertificate(path, hosts, NOW);
    expect(made.names).toEqual([]);
    expect(readdirSync(path).sort()).toEqual(['derpkit.crt', 'derpkit.key']);
    expect(statSync(join(path, 'derpkit.key')).mode & 0o777).toBe(0o600);
    const leaf = new X509Certificate(made.chain[0] as Uint8Array);
    for (const host of [HOST, 'localhost']) expect(leaf.checkHost(host)).toBe(host);
    for (const address of ['127.0.0.1', '::1']) expect(leaf.checkIP(address)).toBe(address);
    const later = new Date(NOW.getTime() + 3649 * DAY);
    expect((await keptCertificate(path, hosts, later)).fingerprint).toBe(made.fingerprint);
    expect((await keptCertificate(path, ['localhost'], NOW)).fingerprint).toBe(made.fingerprint);
    expect(await keptCertificate(path, hosts, NOW)).toEqual(made);
  });

  it.each<[string, (path: string) => void, readonly string[], number]>([
    ['has run out', () => {}, hosts, 3651],
    ['lacks a name', () => {}, [...hosts, 'other.example.com'], 0],
    ['lacks an address', () => {}, [...hosts, '192.0.2.1'], 0],
    ['has lost its key', (path) => rmSync(join(path, 'derpkit.key')), hosts, 0],
    ['has lost its certificate', (path) => rmSync(join(path, 'derpkit.crt')), hosts, 0],
    ['has another’s key', (path) => writeFileSync(join(path, 'derpkit.key'), good.key), hosts, 0],
  ])('the relay’s own certificate is replaced if it %s', async (_name, change, wanted, days) => {
    const path = directory();
    await keptCertificate(path, hosts, NOW);
    const before = serial(path);
    change(path);
    const remade = await keptCertificate(path, wanted, new Date(NOW.getTime() + days * DAY));
    expect(serial(path)).not.toBe(before);
    expect(new X509Certificate(remade.chain[0] as Uint8Array).serialNumber).toBe(serial(path));
  });

  it.each([
    ['has run out', 3651, /derpkit\.crt has expired, on 2036-/],
    ['is of years to come, made while the clock was wrong', -2 * 365, /derpkit\.crt is not valid before 2026-/],
  ])('the relay’s own certificate is replaced if it %s, and the new pin is logged', async (_name, days, why) => {
    const path = directory();
    const first = await keptCertificate(path, hosts, NOW);
    const heard: string[] = [];
    const now = new Date(NOW.getTime() + days * DAY);
    const remade = await keptCertificate(path, hosts, now, (text) => heard.push(text));
    expect(remade.fingerprint).not.toBe(first.fingerprint);
    expect(remade.validFrom < now && now < remade.validUntil).toBe(true);
    expect(heard).toEqual([expect.stringMatching(why)]);
    expect(heard[0]).toContain(`clients pin as sha256-raw:${remade.fingerprint}`);
    expect((await keptCertificate(path, hosts, now)).fingerprint).toBe(remade.fingerprint);
  });

  it('the hosts that the relay’s own certificate lacks are logged when it is replaced', async () => {
    const path = directory();
    await keptCertificate(path, hosts, NOW);
    const heard: string[] = [];
    await keptCertificate(path, ['192.0.2.1', 'localhost', 'b.test'], NOW, (text) => heard.push(text));
    expect(heard).toEqual([expect.stringMatching(/derpkit\.crt is not for 192\.0\.2\.1, b\.test; there is a new one/)]);
  });

  it('the first own certificate is not logged as a replacement', async () => {
    await keptCertificate(directory(), hosts, NOW, (text) => expect.unreachable(text));
  });
});

it('a certificate is valid from the first to the last moment that it names', () => {
  const certificate = parsePair(good, []);
  const [from, until] = [certificate.validFrom.getTime(), certificate.validUntil.getTime()];
  const problems = [from - 1, from, until, until + 1].map((time) => timeProblem(certificate, new Date(time)));
  expect(problems).toEqual([
    'is not valid before 2026-11-23T11:00:00.000Z: one of the clocks is wrong',
    undefined,
    undefined,
    'has expired, on 2026-12-23T12:00:00.000Z',
  ]);
});

describe('served certificates', () => {
  const loaded = parsePair(good, [HOST]);

  it('each chain ends with the meta certificate, and the loaded chain stays unchanged', () => {
    const { certificates } = servedSet([{ certificate: loaded, names: [HOST] }], 'refuse', keyOf(1), NOW);
    expect(certificates).toHaveLength(1);
    const [served] = certificates;
    expect(served?.chain).toHaveLength(2);
    expect(served?.chain[0]).toEqual(loaded.chain[0]);
    expect(new X509Certificate(served?.chain.at(-1) as Uint8Array).subject).toMatch(/^CN=derpkey0{62}02$/);
    expect(loaded.chain).toHaveLength(1);
    expect(served?.privateKey).toEqual(loaded.privateKey);
  });

  it('the set says which names get each certificate, and what happens with others', () => {
    const served = [
      { certificate: loaded, names: [HOST] },
      { certificate: loaded, names: [] },
    ];
    expect(servedSet(served, 'ask', keyOf(1), NOW)).toMatchObject({
      otherwise: 'ask',
      certificates: [{ names: [HOST] }, { names: [] }],
    });
  });
});

function pem(key: KeyObject, type: 'pkcs8' | 'sec1' | 'pkcs1'): string {
  return key.export({ type, format: 'pem' } as { type: 'pkcs8'; format: 'pem' }).toString();
}

/** A certificate with an RSA key. Its signature is not by that key, which no server checks. */
function rsaPair(): { readonly pair: PemPair; readonly key: KeyObject } {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const certificate = AsnConvert.parse(selfSignedCertificate([HOST], 30, NOW).der, Certificate);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  certificate.tbsCertificate.subjectPublicKeyInfo = AsnConvert.parse(spki, SubjectPublicKeyInfo);
  const der = Buffer.from(AsnConvert.serialize(certificate));
  const chain = new X509Certificate(der).toString();
  return { pair: { chain, key: pem(privateKey, 'pkcs8') }, key: privateKey };
}
