/** The answers to challenges of relays that share a directory, for as long as they hold. */
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CertificateCache } from '../../../../src/control/acme/cache.js';
import { Challenges } from '../../../../src/control/acme/challenges.js';
import { temporaryDirectory } from '../../temp.js';

const root = temporaryDirectory();
const account = generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey;
let count = 0;

/** Two relays that share a directory, and how often the certificates of each have changed. */
function two() {
  count += 1;
  const directory = join(root, String(count));
  const relay = () => {
    const changes = { count: 0 };
    const challenges = new Challenges(new CertificateCache(directory), () => {
      changes.count += 1;
    });
    return { challenges, changes };
  };
  return { directory, here: relay(), there: relay() };
}

function stopTimers(): void {
  onTestFinished(() => void vi.useRealTimers());
  vi.useFakeTimers({ toFake: ['setTimeout'] });
}

describe('an answer to a challenge', () => {
  it('an answer is for the type of challenge that the CA offers', () => {
    const { challenges } = two().here;
    const hook = async () => undefined;
    const solvers = [challenges.http(account), challenges.tlsAlpn(account), challenges.dns(account, hook)];
    expect(solvers.map(({ type }) => type)).toEqual(['http-01', 'tls-alpn-01', 'dns-01']);
  });

  it('a token that is not one of a CA has no answer, whatever file there is', async () => {
    const { directory, here } = two();
    mkdirSync(directory);
    for (const token of ['a.b', 'b', '.b']) writeFileSync(join(directory, `${token}+http-01`), 'words');
    expect(await here.challenges.answer('a.b')).toBeUndefined();
    expect(await here.challenges.answer('.b')).toBeUndefined();
    expect(await here.challenges.answer('b')).toBe('words');
  });

  it('an answer in a handshake is a certificate for the name alone, with its key', async () => {
    const { directory, here } = two();
    const done = await here.challenges.tlsAlpn(account).present('192.0.2.1', 'token');
    const [answer] = here.challenges.certificates;
    expect(answer?.names).toEqual(['1.2.0.192.in-addr.arpa']);
    expect(answer?.chain).toHaveLength(1);
    const leaf = new X509Certificate(answer?.chain[0] as Uint8Array);
    expect(leaf.subjectAltName).toBe('IP Address:192.0.2.1');
    const key = createPrivateKey({ key: Buffer.from(answer?.privateKey ?? []), format: 'der', type: 'pkcs8' });
    expect(leaf.checkPrivateKey(key)).toBe(true);
    expect(readdirSync(directory)).toEqual(['1.2.0.192.in-addr.arpa+token']);
    await done();
    expect(readdirSync(directory)).toEqual([]);
  });

  it('a relay answers alone if the directory takes no files', async () => {
    const { directory, here, there } = two();
    writeFileSync(directory, 'a file');
    const doneHttp = await here.challenges.http(account).present('a.test', 'token');
    expect(await here.challenges.answer('token')).toMatch(/^token\./);
    expect(await there.challenges.answer('token')).toBeUndefined();
    const doneTls = await here.challenges.tlsAlpn(account).present('a.test', 'token');
    expect(await here.challenges.shared('a.test')).toBe(true);
    expect(await there.challenges.shared('a.test')).toBe(false);
    await doneHttp();
    await doneTls();
    expect(await here.challenges.answer('token')).toBeUndefined();
    expect(await here.challenges.shared('a.test')).toBe(false);
  });
});

describe('the answer of another relay', () => {
  it('the answer of another relay is served for five seconds, and is looked for again', async () => {
    stopTimers();
    const { here, there } = two();
    const done = await here.challenges.tlsAlpn(account).present('a.test', 'first');
    expect(await there.challenges.shared('a.test')).toBe(true);
    expect(there.challenges.certificates).toEqual(here.challenges.certificates);
    await done();
    vi.advanceTimersByTime(4999);
    expect(there.challenges.certificates).toHaveLength(1);
    expect(there.changes.count).toBe(1);
    vi.advanceTimersByTime(1);
    expect(there.challenges.certificates).toEqual([]);
    expect(there.changes.count).toBe(2);
    expect(await there.challenges.shared('a.test')).toBe(false);
    await here.challenges.tlsAlpn(account).present('a.test', 'second');
    expect(await there.challenges.shared('a.test')).toBe(true);
    expect(there.challenges.certificates).toEqual(here.challenges.certificates);
  });

  it('the answer of another relay does not take that of an order of this relay with it', async () => {
    stopTimers();
    const { here, there } = two();
    const doneHere = await here.challenges.tlsAlpn(account).present('a.test', 'first');
    expect(await there.challenges.shared('a.test')).toBe(true);
    await doneHere();
    const doneThere = await there.challenges.tlsAlpn(account).present('a.test', 'second');
    const own = there.challenges.certificates;
    vi.advanceTimersByTime(5000);
    expect(there.challenges.certificates).toEqual(own);
    await doneThere();
    expect(there.challenges.certificates).toEqual([]);
    expect(there.changes.count).toBe(3);
  });
});
