/** A certificate authority that wants more, that is away, that refuses, that errs, and relays that share a directory. */
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { selfSignedCertificate } from '../../src/control/x509.js';
import type { CertificateTimes } from '../../src/relay/certificates.js';
import { Crowd } from '../helpers/crowd.js';
import { LANES } from '../helpers/lanes.js';
import { Log } from '../helpers/log.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { Authority, DAY, NAME, read, shown, temporary } from './acme.ts';
import { EAB_KEY } from './pebble.ts';
import { threePorts } from './servers.ts';

const authority = Authority.forThisFile();
/** So short that a test need not wait, so long that a loop would be seen. */
const KEEPER = { backOff: { first: 50, most: 200, mostAsked: 60_000 }, look: 1000, locked: 50, apart: 60_000 };
const SOON: CertificateTimes = { keeper: KEEPER, look: 5000 };
const HOUR = 3_600_000;
const NEVER: CertificateTimes = {
  ...SOON,
  keeper: { ...KEEPER, backOff: { first: HOUR, most: HOUR, mostAsked: HOUR } },
};

/** A certificate that is due for renewal, as autocert keeps it. */
function due(name: string): string {
  const made = selfSignedCertificate([name], 90, new Date(Date.now() - 80 * DAY));
  return made.privateKey.export({ type: 'sec1', format: 'pem' }).toString() + new X509Certificate(made.der).toString();
}

/** Only root may have disks of its own. */
const MOUNTS = process.getuid?.() === 0 && process.platform === 'linux';

/** Whether the system has let us. */
function mount(...args: readonly string[]): boolean {
  return spawnSync('mount', args).status === 0;
}

function fill(disk: string): boolean {
  for (let length = 65_536; length > 0; length = Math.floor(length / 2)) {
    for (;;) {
      try {
        writeFileSync(join(disk, 'ballast'), Buffer.alloc(length), { flag: 'a' });
      } catch {
        break;
      }
    }
  }
  return true;
}

describe.each(LANES)('ACME in trouble, $name', (lane) => {
  it('the relay proves an external account to a CA that requires one', async () => {
    const strict = await authority.another({ eab: true });
    const acme = { directory: strict.directory, email: 'someone@example.com' };
    const log = new Log();
    const without = await authority.relay(lane, temporary(), { acme }, { logger: log.logger, certificateTimes: NEVER });
    await eventually(() => log.find(/external account: acme.eabKid/), 'the CA to complain');
    await without.close();
    const eabKeyFile = join(temporary(), 'key');
    writeFileSync(eabKeyFile, `${EAB_KEY}\n`);
    for (const key of [{ eabKey: EAB_KEY }, { eabKeyFile }]) {
      const relay = await authority.relay(lane, temporary(), { acme: { ...acme, eabKid: 'kid-1', ...key } });
      expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
      await relay.close();
    }
  });

  it('the relay replaces nonces that the CA refuses', async () => {
    const forgetful = await authority.another({ env: { PEBBLE_WFE_NONCEREJECT: '40' } });
    const relay = await authority.relay(lane, temporary(), { acme: { directory: forgetful.directory } });
    expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
  });

  it('the relay retries an unreachable CA at growing intervals, and gets the certificate in the end', async () => {
    // The port beside pebble's may be another of its own.
    const { main: closed } = await threePorts('127.0.0.1');
    const log = new Log();
    const acme = { directory: `https://127.0.0.1:${closed}/dir` };
    const options = { logger: log.logger, certificateTimes: SOON };
    const relay = await authority.relay(lane, temporary(), { acme }, options);
    await eventually(
      () => log.find(/cannot be reached: .*ECONNREFUSED/),
      () => `the first failure in ${log.lines.join('\n')}`,
    );
    // A client that comes meanwhile is not kept waiting for nothing, or gets the certificate once it is there.
    await eventually(() => log.lines.filter((line) => /cannot be reached/.test(line)).length >= 3, 'three failures');
    await authority.another({ port: closed });
    await eventually(() => shown(relay).catch(() => undefined), 'the certificate');
  });

  it('the relay quotes a CA that refuses, does not ask in a loop, and lets no client wait', async () => {
    const hostname = 'blocked.example.com';
    const log = new Log();
    const options = { logger: log.logger, certificateTimes: NEVER };
    const relay = await authority.relay(lane, temporary(), { hostname }, options);
    await eventually(
      () => log.find(/error: .*blocked.example.com/),
      () => `a refusal in ${log.lines.join('\n')}`,
    );
    const { orders } = authority.pebble;
    for (let count = 0; count < 5; count++) await expect(shown(relay, hostname)).rejects.toThrow();
    expect(authority.pebble.orders).toBe(orders);
    expect(log.lines.filter((line) => line.startsWith('error'))).toHaveLength(1);
  });

  it('a silent CA delays nothing: the relay serves what it has, and closes', async () => {
    const silent = createServer(() => undefined);
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', () => resolve()));
    const { port } = silent.address() as { port: number };
    const directory = temporary();
    writeFileSync(join(directory, NAME), due(NAME), { mode: 0o600 });
    const relay = await authority.relay(lane, directory, { acme: { directory: `https://127.0.0.1:${port}/dir` } });
    expect((await shown(relay)).checkHost(NAME)).toBe(NAME);
    await relay.close();
    silent.close();
  });

  it('the log says what to check if a name leads elsewhere, for each challenge', async () => {
    const log = new Log();
    const lost = await authority.another({ httpPort: 1, tlsPort: 1 });
    const options = { logger: log.logger, certificateTimes: NEVER };
    await authority.relay(lane, temporary(), { acme: { directory: lost.directory } }, options);
    const line = await eventually(() => log.find(/^error/), 'the failure');
    expect(line).toMatch(/by http-01: .*; .*by tls-alpn-01: .*\(is port 80 of this machine reachable/);
  });

  it('two relays that share a directory place one order, and answer for each other', async () => {
    const directory = temporary();
    const { orders } = authority.pebble;
    // The CA comes to the first one alone, and the second one asks.
    const config = { hostname: 'shared.example.com' };
    const elsewhere = { ...config, listen: '127.0.0.1:0', httpPort: 0 };
    const options = { certificateTimes: SOON };
    const first = await authority.relay(lane, directory, { ...config, acme: { atStart: false } }, options);
    const second = await authority.relay(lane, directory, elsewhere, options);
    const [a, b] = await Promise.all([shown(first, config.hostname), shown(second, config.hostname)]);
    expect(a.fingerprint256).toBe(b.fingerprint256);
    expect(authority.pebble.orders).toBe(orders + 1);
  });

  it('a relay that has a certificate answers TLS-ALPN-01 for one that renews it, and serves the new one', async () => {
    const directory = temporary();
    const hostname = 'renewed.example.com';
    const times = { ...SOON, keeper: { ...KEEPER, apart: 0 } };
    // The CA comes to the first one alone, and has no other way.
    const first = await authority.relay(lane, directory, { hostname, httpPort: -1 }, { certificateTimes: times });
    const old = await shown(first, hostname);
    await eventually(() => read(directory, hostname), 'the file');
    await authority.pebble.suggest(old.toString(), new Date(Date.now() - 2 * DAY), new Date(Date.now() - DAY));
    const elsewhere = { hostname, listen: '127.0.0.1:0', httpPort: -1 };
    const log = new Log();
    const second = await authority.relay(lane, directory, elsewhere, { certificateTimes: times, logger: log.logger });
    const fresh = await eventually(
      async () => {
        const certificate = await shown(second, hostname);
        return certificate.fingerprint256 !== old.fingerprint256 && certificate;
      },
      () => `the new certificate; ${log.lines.join('\n')}`,
    );
    expect(log.find(/^error/)).toBeUndefined();
    await eventually(() => read(directory, hostname)?.includes(fresh.toString()), 'the file');
    await first.relay.reload();
    await eventually(
      async () => (await shown(first, hostname)).fingerprint256 === fresh.fingerprint256,
      'the first relay to take it over',
    );
    // A stranger that asks for a challenge brings about nothing.
    const challenge = { servername: hostname, ALPNProtocols: ['acme-tls/1'] };
    // The answer to the challenge stays for a moment after it has served.
    const isRefused = () =>
      Wire.open(first.target(challenge)).then(
        (wire) => wire.destroy().then(() => false),
        () => true,
      );
    await eventually(isRefused, 'challenges to be refused');
    await expect(Wire.open(first.target({ ...challenge, servername: 'x.test' }))).rejects.toThrow();
  });

  it('a certificate that is due is served until there is another', async () => {
    const directory = temporary();
    writeFileSync(join(directory, NAME), due(NAME), { mode: 0o600 });
    const relay = await authority.relay(
      lane,
      directory,
      { acme: { directory: 'https://127.0.0.1:1/dir' } },
      { certificateTimes: NEVER },
    );
    const old = await shown(relay);
    await relay.close();
    expect(old.fingerprint256).toBe(new X509Certificate(read(directory, NAME) as string).fingerprint256);
    const renewed = await authority.relay(lane, directory);
    const fresh = await eventually(async () => {
      const certificate = await shown(renewed);
      return certificate.fingerprint256 !== old.fingerprint256 && certificate;
    }, 'the new certificate');
    expect(fresh.checkHost(NAME)).toBe(NAME);
    await eventually(() => read(directory, NAME)?.includes(fresh.toString()), 'the file');
  });

  it('a renewal at the CA’s request loses no packet of 200 clients', async () => {
    const directory = temporary();
    const times = { ...SOON, keeper: { ...KEEPER, apart: 0 } };
    const log = new Log();
    const relay = await authority.relay(lane, directory, {}, { certificateTimes: times, logger: log.logger });
    const old = await shown(relay);
    const tls = { servername: NAME };
    const crowd = new Crowd(relay);
    await crowd.join(200, { tls });
    let talking = true;
    const talk = (async () => {
      while (talking) {
        for (const client of crowd.clients) crowd.send(client, crowd.pick(crowd.clients).key, 200);
        await crowd.allTaken();
        // Clients, relay and the order share a thread here, which has to get to the order, too.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    })();
    const now = Date.now();
    await authority.pebble.suggest(old.toString(), new Date(now - 2 * DAY), new Date(now - DAY));
    // The CA is asked again.
    await relay.relay.reload();
    await eventually(
      () => log.lines.filter((line) => /there is a new certificate/.test(line)).length === 2,
      () => `the renewal in ${log.lines.join('\n')}`,
      60_000,
    ).finally(() => {
      talking = false;
    });
    await talk;
    await eventually(
      async () => (await shown(relay)).fingerprint256 !== old.fingerprint256,
      'the plane to have the new certificate',
    );
    expect(await crowd.balanced()).toEqual({ dropped: 0 });
    expect(relay.disconnected).toEqual([]);
    expect(log.find(/wants a renewal.*example.com.why/)).toBeDefined();
  });

  it('a directory without write access is logged, and the relay goes on', async () => {
    const directory = join(temporary(), 'certs');
    // A file where the directory should be is a directory that no user can write to, not even root.
    writeFileSync(directory, '');
    const log = new Log();
    const relay = await authority.relay(lane, directory, {}, { logger: log.logger, certificateTimes: NEVER });
    const line = await eventually(() => log.find(/^error/), 'the complaint');
    expect(line).toContain('not a directory');
    await expect(shown(relay)).rejects.toThrow();
  });

  it.skipIf(!MOUNTS).each([
    ['read-only', (disk: string) => mount('-o', 'remount,ro', disk)],
    ['full', (disk: string) => fill(disk)],
  ])(
    'a %s disk leaves the relay running with the old certificate, then with a new one that it cannot keep',
    async (_how, spoil) => {
      const disk = temporary();
      expect(mount('-t', 'tmpfs', '-o', 'size=64k', 'none', disk)).toBe(true);
      onTestFinished(() => void spawnSync('umount', [disk]));
      // With an account, so that there is an order.
      const before = await authority.relay(lane, disk);
      await shown(before);
      await eventually(() => read(disk, NAME), 'the file');
      await before.close();
      writeFileSync(join(disk, NAME), due(NAME), { mode: 0o600 });
      const old = new X509Certificate(read(disk, NAME) as string).fingerprint256;
      expect(spoil(disk)).toBe(true);
      const files = readdirSync(disk).sort();
      const log = new Log();
      const relay = await authority.relay(lane, disk, {}, { logger: log.logger, certificateTimes: NEVER });
      await eventually(
        async () => (await shown(relay)).fingerprint256 !== old,
        () => `the new certificate; ${log.lines.join('\n')}`,
      );
      expect(await eventually(() => log.find(/^error/), 'the complaint')).toMatch(
        /is served, but cannot be kept, .*after a restart/,
      );
      expect(readdirSync(disk).sort()).toEqual(files);
      expect(new X509Certificate(read(disk, NAME) as string).fingerprint256).toBe(old);
    },
  );

  it('files that are no certificates, or not for the name, are as good as none', async () => {
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
    const contents = [
      '',
      'nonsense',
      key,
      due('other.example.com'),
      key + due(NAME).replace(/^[\s\S]*?(?=-----BEGIN CERT)/, ''),
    ];
    for (const content of contents) {
      const directory = temporary();
      writeFileSync(join(directory, NAME), content, { mode: 0o600 });
      const relay = await authority.relay(lane, directory);
      const certificate = await shown(relay);
      expect(certificate.issuer).toContain('Pebble');
      await relay.close();
    }
  });
});
