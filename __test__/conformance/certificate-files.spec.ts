/** Certificates from files: several of them, and what becomes of them when the files change. */
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { RelayConfig } from '../../src/config.js';
import { KEEPER_TIMES } from '../../src/control/acme/keeper.js';
import { selfSignedCertificate } from '../../src/control/x509.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { Log } from '../helpers/log.js';
import { pemPair, startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0;
const DAY = 24 * 60 * 60 * 1000;
const REFUSED = { code: 'ERR_SSL_TLSV1_UNRECOGNIZED_NAME' };
/** Files are looked at so often that a test need not wait for it. */
const OFTEN = { keeper: KEEPER_TIMES, look: 20 };
/** Never, as far as a test can tell. */
const NEVER = { keeper: KEEPER_TIMES, look: 3_600_000 };

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-files-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

interface Pair {
  readonly chain: string;
  readonly key: string;
}

function write(directory: string, name: string, { chain, key }: Pair): { chainFile: string; keyFile: string } {
  const [chainFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  writeFileSync(keyFile, key);
  writeFileSync(chainFile, chain);
  return { chainFile, keyFile };
}

function expired(name: string): Pair {
  const { der, privateKey } = selfSignedCertificate([name], 1, new Date(Date.now() - 2 * DAY));
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { chain: new X509Certificate(der).toString(), key };
}

function open(lane: Lane, config: RelayConfig, log = new Log(), times = NEVER): Promise<TestRelay> {
  const options = { logger: log.logger, certificateTimes: times };
  return startRelay(lane, { ...options, config: { certificate: undefined, certMode: 'manual', ...config } });
}

/** The fingerprint of what a client of this name is shown. */
async function shown(relay: TestRelay, servername: string): Promise<string | undefined> {
  await relay.commandsDone();
  const wire = await Wire.open(relay.target({ servername }));
  const certificate = wire.tlsSocket.getPeerX509Certificate();
  await wire.destroy();
  return certificate?.fingerprint256;
}

const of = ({ chain }: Pair) => new X509Certificate(chain).fingerprint256;

describe.each(LANES)('certificates from files, $name', (lane) => {
  it('the server name selects a certificate from files; without a default, unknown names are refused', async () => {
    const directory = temporary();
    const [a, b, wild] = [
      pemPair(['a.test', 'also.test']),
      pemPair(['b.test']),
      pemPair(['*.wild.test', 'x.wild.test']),
    ];
    const certificates = Object.entries({ a, b, wild }).map(([name, pair]) => write(directory, name, pair));
    const relay = await open(lane, { certificates });
    expect(await shown(relay, 'a.test')).toBe(of(a));
    expect(await shown(relay, 'ALSO.test')).toBe(of(a));
    expect(await shown(relay, 'b.test')).toBe(of(b));
    expect(await shown(relay, 'x.wild.test')).toBe(of(wild));
    expect(await shown(relay, 'any.wild.test')).toBe(of(wild));
    for (const name of ['', 'c.test', 'wild.test', 'a.b.wild.test']) {
      await expect(shown(relay, name)).rejects.toMatchObject(REFUSED);
    }
  });

  it('a certificate marked default serves unknown names', async () => {
    const directory = temporary();
    const [a, b] = [pemPair(['a.test']), pemPair(['b.test'])];
    const certificates = [write(directory, 'a', a), { ...write(directory, 'b', b), default: true }];
    const relay = await open(lane, { certificates });
    expect(await shown(relay, 'a.test')).toBe(of(a));
    for (const name of ['', 'c.test', 'b.test']) expect(await shown(relay, name)).toBe(of(b));
  });

  it.runIf(HAS_OPENSSL)('certificate files may hold keys of every kind', async () => {
    const directory = temporary();
    const kinds = { rsa: ['rsa:2048'], p384: ['ec', '-pkeyopt', 'ec_paramgen_curve:P-384'], ed25519: ['ed25519'] };
    const certificates = Object.entries(kinds).map(([name, kind]) => {
      const [chainFile, keyFile] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
      const names = ['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}.test`];
      const args = ['req', '-x509', '-newkey', ...kind, '-nodes', ...names, '-keyout', keyFile, '-out', chainFile];
      execFileSync('openssl', args, { stdio: 'ignore' });
      return { chainFile, keyFile };
    });
    const relay = await open(lane, { certificates });
    for (const [index, name] of Object.keys(kinds).entries()) {
      const chain = readFileSync(certificates[index]?.chainFile as string, 'utf8');
      expect(await shown(relay, `${name}.test`)).toBe(of({ chain, key: '' }));
    }
  });

  it('a changed certificate is served without disturbing connections', async () => {
    const directory = temporary();
    const [first, second] = [pemPair(['relay.test']), pemPair(['relay.test'])];
    const log = new Log();
    write(directory, 'relay.test', first);
    const relay = await open(lane, { certDir: directory, hostname: 'relay.test' }, log, OFTEN);
    const tls = { servername: 'relay.test' };
    const clients = [await DerpClient.connect(relay, { tls }), await DerpClient.connect(relay, { tls })] as const;
    write(directory, 'relay.test', second);
    await eventually(() => log.find(/a certificate has changed/), 'the change to be seen');
    expect(await shown(relay, 'relay.test')).toBe(of(second));
    clients[0].sendPacket(clients[1].key, 'on and on');
    await clients[1].expectPacket('on and on');
    expect(relay.disconnected).toEqual([]);
  });

  it('a certificate is served after a link to its files was swapped', async () => {
    const directory = temporary();
    const [first, second] = [pemPair(['relay.test']), pemPair(['relay.test'])];
    for (const [name, pair] of Object.entries({ first, second })) {
      mkdirSync(join(directory, name));
      write(join(directory, name), 'relay.test', pair);
    }
    // As Kubernetes does it: the files are links into a link, which is what is swapped.
    symlinkSync('first', join(directory, 'data'));
    for (const end of ['crt', 'key']) symlinkSync(`data/relay.test.${end}`, join(directory, `relay.test.${end}`));
    const log = new Log();
    const relay = await open(lane, { certDir: directory, hostname: 'relay.test' }, log, OFTEN);
    expect(await shown(relay, 'relay.test')).toBe(of(first));
    symlinkSync('second', join(directory, 'next'));
    renameSync(join(directory, 'next'), join(directory, 'data'));
    await eventually(() => log.find(/a certificate has changed/), 'the change to be seen');
    expect(await shown(relay, 'relay.test')).toBe(of(second));
  });

  it.each<[string, (good: Pair) => Partial<Pair>, RegExp]>([
    [
      'a key of another certificate',
      () => ({ key: pemPair(['relay.test']).key }),
      /\.key: the private key does not belong/,
    ],
    [
      'half a certificate',
      ({ chain }) => ({ chain: chain.slice(0, chain.length / 2) }),
      /\.crt: there is no certificate/,
    ],
    ['half a key', ({ key }) => ({ key: key.slice(0, key.length / 2) }), /\.key: there is no private key/],
    ['one that has run out', () => expired('relay.test'), /\.crt has expired/],
    ['one for another name', () => pemPair(['other.test']), /\.crt is not valid for relay\.test/],
  ])(
    'certificate files that are %s are refused in one line, and the old certificate stays in service',
    async (_what, bad, message) => {
      const directory = temporary();
      const good = pemPair(['relay.test']);
      write(directory, 'relay.test', good);
      const log = new Log();
      const relay = await open(lane, { certDir: directory, hostname: 'relay.test' }, log);
      write(directory, 'relay.test', { ...good, ...bad(good) });
      const error = await relay.relay.reload().catch((caught: Error) => caught);
      expect(String(error)).toMatch(message);
      expect(String(error)).not.toContain('\n');
      expect(await shown(relay, 'relay.test')).toBe(of(good));
      // And a good one is taken behind it.
      const next = pemPair(['relay.test']);
      write(directory, 'relay.test', next);
      await relay.relay.reload();
      expect(await shown(relay, 'relay.test')).toBe(of(next));
    },
  );

  it('a reload logs the fingerprint of a replaced certificate, and shows why files cannot be used', async () => {
    const directory = temporary();
    const [pair, next] = [pemPair(['a.test']), pemPair(['a.test'])];
    const log = new Log();
    const relay = await open(lane, { certificates: [write(directory, 'a', pair)], hostname: 'a.test' }, log);
    const page = async (path: string) => {
      return (await ask(relay.target({ servername: 'a.test' }), path, { headers: { Host: 'a.test' } })).body;
    };
    expect(await page('/debug/varz')).toContain('derpkit_certificate_failures{name="a.test"} 0\n');
    write(directory, 'a', { ...pair, key: pemPair(['a.test']).key });
    for (const failures of [1, 2]) {
      await expect(relay.relay.reload()).rejects.toThrow(/does not belong/);
      expect(await page('/debug/varz')).toContain(`derpkit_certificate_failures{name="a.test"} ${failures}\n`);
      expect(await page('/debug/certificates')).toContain('a.key: the private key does not belong to the certificate');
    }
    write(directory, 'a', next);
    await relay.relay.reload();
    const fingerprint = of(next).replaceAll(':', '').toLowerCase();
    expect(
      log.find(new RegExp(`a certificate has changed, and the new one is served.*"${fingerprint}"`)),
    ).toBeDefined();
    expect(await page('/debug/varz')).toContain('derpkit_certificate_failures{name="a.test"} 0\n');
    expect(await page('/debug/certificates')).not.toContain('does not belong');
    const lines = log.lines.length;
    await relay.relay.reload();
    expect(log.lines).toHaveLength(lines);
  });

  it.each([
    ['other.test', 1],
    ['a.test', 0],
    ['B.test', 0],
    ['sub.b.test', 0],
  ])('certificates of a relay whose host name is %s cause %i warning', async (hostname, count) => {
    const directory = temporary();
    const pairs = { a: pemPair(['a.test']), b: pemPair(['b.test', '*.b.test']) };
    const log = new Log();
    const certificates = Object.entries(pairs).map(([name, pair]) => write(directory, name, pair));
    await open(lane, { certificates, hostname }, log);
    const warnings = log.lines.filter((line) => line.startsWith('warn: no certificate is for'));
    expect(warnings).toHaveLength(count);
    for (const line of warnings) {
      for (const part of [hostname, 'a.test, b.test, *.b.test', 'set hostname']) expect(line).toContain(part);
    }
  });

  it('metrics and /debug/certificates show certificates from files', async () => {
    const directory = temporary();
    const pair = pemPair(['a.test', 'b.test']);
    const relay = await open(lane, { certificates: [write(directory, 'a', pair)], hostname: 'a.test' });
    const target = relay.target({ servername: 'a.test' });
    const { body } = await ask(target, '/debug/varz', { headers: { Host: 'a.test' } });
    const until = Date.parse(new X509Certificate(pair.chain).validTo);
    for (const name of ['a.test', 'b.test']) {
      expect(body).toContain(`derpkit_certificate_not_after_seconds{name="${name}"} ${until / 1000}\n`);
    }
    const page = await ask(target, '/debug/certificates', { headers: { Host: 'a.test' } });
    expect(page.status).toBe(200);
    for (const part of ['a.test, b.test', 'CN=a.test', new Date(until).toISOString(), 'read again when']) {
      expect(page.body).toContain(part);
    }
  });
});
