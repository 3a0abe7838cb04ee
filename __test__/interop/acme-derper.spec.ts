/** `derper -certmode letsencrypt`: the real one and ours, on one directory; and the directory that Go's autocert writes. */
import { X509Certificate } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { buildPeers, type Peers } from '../../packaging/peers.mjs';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { getHttp, read, temporary } from './acme.ts';
import { EAB_KEY, Pebble } from './pebble.ts';
import { makeWorkspace, run, runScenario, type Workspace } from './scenarios.ts';
import { type Implementation, type Ports, Relay, threePorts } from './servers.ts';

const NAME = 'derp.example.com';
/** derper has TLS on port 443 alone; no other program uses this address. */
const ADDRESS = '127.44.3.1';

let peers: Peers;
let ports: Ports;
let pebble: Pebble;
let directory: string;
let isOurs: boolean;

beforeAll(async () => {
  isOurs = await canListen();
  if (!isOurs) return;
  peers = await buildPeers();
  ports = { ...(await threePorts(ADDRESS)), main: 443 };
  pebble = await Pebble.start({ httpPort: ports.http, tlsPort: 443, address: ADDRESS });
  directory = mkdtempSync(join(tmpdir(), 'derpkit-acme-derper-'));
  writeFileSync(join(directory, 'mesh.key'), `${'5eed'.repeat(16)}\n`);
  writeFileSync(join(directory, 'root.pem'), await pebble.root());
});

afterAll(() => {
  pebble?.stop();
  if (directory) rmSync(directory, { recursive: true, force: true });
});

/** Whether this process may open the port that derper wants. In CI it has to. */
function canListen(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(Boolean(process.env.CI)));
    server.listen(443, ADDRESS, () => server.close(() => resolve(true)));
  });
}

async function startWith(
  implementation: Implementation,
  certificates: string,
  more: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<Relay> {
  const flags = [
    '-certmode',
    'letsencrypt',
    '-certdir',
    certificates,
    '-hostname',
    NAME,
    '-http-port',
    `${ports.http}`,
  ];
  const relay = await Relay.start(implementation, peers, {
    directory,
    name: implementation,
    address: ADDRESS,
    ports,
    flags: [...flags, ...more],
    env: { DERPKIT_ACME_DIRECTORY: pebble.directory, NODE_EXTRA_CA_CERTS: pebble.caFile, ...env },
  });
  onTestFinished(async () => {
    await relay.stop();
  });
  return relay;
}

async function shown(servername: string): Promise<X509Certificate> {
  const wire = await Wire.open({ host: ADDRESS, port: 443, tls: { servername } });
  const certificate = wire.tlsSocket.getPeerX509Certificate();
  await wire.destroy();
  return certificate as X509Certificate;
}

/** Tailscale's client, which checks the certificate, and starts fast where it sees the meta certificate. */
async function clients(serverName = NAME, root = join(directory, 'root.pem')): Promise<void> {
  const target = ['-tls', `https://${ADDRESS}:443`, '-ca', root, '-server-name', serverName];
  const port80 = ['-port80', `http://${ADDRESS}:${ports.http}`, '-mesh-key-file', join(directory, 'mesh.key')];
  for (const scenario of ['meta-certificate', 'fast-start', 'relay-tls']) {
    await run(peers.interop, ['-run', scenario, ...target, ...port80]);
  }
}

/** What autocert writes, from pebble. */
async function byAutocert(certificates: string): Promise<X509Certificate> {
  const http = `${ADDRESS}:${ports.http}`;
  const ca = ['-acme-directory', pebble.directory, '-ca', pebble.caFile, '-server-name', NAME, '-http', http];
  await run(peers.interop, ['-autocert', certificates, ...ca]);
  return new X509Certificate(read(certificates, NAME) as string);
}

describe.each(['js', 'native'])('derper -certmode letsencrypt, %s', (plane) => {
  const start = (implementation: Implementation, certificates: string, more: readonly string[] = []) =>
    startWith(implementation, certificates, more, { DERPKIT_PLANE: plane });

  it('derpkit gets a certificate when the first client asks, and the real derper serves that certificate from the directory', async ({
    skip,
  }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const certificates = join(temporary(), 'certs');
    const ours = await start('derpkit', certificates);
    const { orders } = pebble;
    expect(read(certificates, NAME)).toBeUndefined();
    await clients();
    expect(pebble.orders).toBe(orders + 1);
    const certificate = await shown(NAME);
    expect(await ours.stop()).toBe(0);
    expect(readdirSync(certificates).sort()).toEqual(['acme_account+key', NAME]);
    const theirs = await start('derper', certificates);
    await clients();
    expect((await shown(NAME)).fingerprint256).toBe(certificate.fingerprint256);
    await theirs.stop();
  });

  it('a certificate of autocert is served without an order, and its account is used', async ({ skip }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const certificates = join(temporary(), 'certs');
    const written = await byAutocert(certificates);
    const { orders } = pebble;
    const accounts = pebble.accounts;
    const ours = await start('derpkit', certificates);
    await clients();
    expect((await shown(NAME)).fingerprint256).toBe(written.fingerprint256);
    expect(pebble.orders).toBe(orders);
    await ours.stop();
    // Another directory with that account alone: an order, and no account more.
    const account = join(temporary(), 'certs');
    mkdirSync(account);
    copyFileSync(join(certificates, 'acme_account+key'), join(account, 'acme_account+key'));
    const again = await start('derpkit', account);
    await shown(NAME);
    expect(pebble.orders).toBe(orders + 1);
    expect(pebble.accounts).toBe(accounts);
    await again.stop();
  });

  it('both relays serve names alike', async ({ skip }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const certificates = join(temporary(), 'certs');
    const { fingerprint256 } = await byAutocert(certificates);
    for (const implementation of ['derpkit', 'derper'] as const) {
      const relay = await start(implementation, certificates);
      expect((await shown(NAME.toUpperCase())).fingerprint256).toBe(fingerprint256);
      for (const name of ['', 'other.example.com', `x.${NAME}`, 'derp']) await expect(shown(name)).rejects.toThrow();
      await relay.stop();
    }
  });

  it('both relays answer HTTP challenges alike', async ({ skip }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const certificates = join(temporary(), 'certs');
    mkdirSync(certificates);
    writeFileSync(join(certificates, 'known+http-01'), 'known.answer');
    const answers = [];
    for (const implementation of ['derpkit', 'derper'] as const) {
      const relay = await start(implementation, certificates);
      const ask = (path: string, host = NAME) => getHttp(ports.http, path, host, ADDRESS);
      answers.push([
        await ask('/.well-known/acme-challenge/known'),
        await ask('/.well-known/acme-challenge/unknown'),
        await ask('/.well-known/acme-challenge/known', 'other.example.com'),
        await ask('/.well-known/acme-challenge/'),
        await ask('/.well-known/other'),
      ]);
      await relay.stop();
    }
    expect(answers[0]).toEqual(answers[1]);
    expect(answers[0]?.map(({ status }) => status)).toEqual([200, 404, 403, 404, 302]);
  });

  it('-acme-ip-certs gets a certificate for the address, which Tailscale’s client accepts', async ({ skip }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const certificates = join(temporary(), 'certs');
    const ours = await start('derpkit', certificates, ['-acme-ip-certs']);
    await clients(ADDRESS);
    await clients();
    await ours.stop();
    const files = [`${ADDRESS}.crt`, `${ADDRESS}.key`, 'acme-account.key', 'acme_account+key', NAME];
    expect(readdirSync(certificates).sort()).toEqual(files.sort());
    const theirs = await start('derper', certificates, ['-acme-ip-certs']);
    await clients(ADDRESS);
    await clients();
    await theirs.stop();
  });

  it('-certmode gcp: a certificate from a CA that wants an external account', async ({ skip }) => {
    if (!isOurs) skip('port 443 cannot be listened on');
    const strict = await Pebble.start({ httpPort: ports.http, tlsPort: 443, address: ADDRESS, eab: true });
    onTestFinished(() => strict.stop());
    const root = join(temporary(), 'root.pem');
    writeFileSync(root, await strict.root());
    const env = {
      DERPKIT_PLANE: plane,
      DERPKIT_ACME_DIRECTORY: strict.directory,
      NODE_EXTRA_CA_CERTS: strict.caFile,
    };
    const certificates = join(temporary(), 'certs');
    const account = ['-acme-email', 'someone@example.com', '-acme-eab-kid', 'kid-1', '-acme-eab-key'];
    const wrong = await startWith('derpkit', certificates, ['-certmode', 'gcp', ...account, 'd3Jvbmc'], env);
    await expect(shown(NAME)).rejects.toThrow();
    await eventually(
      () => /there is no new certificate .*reason="registering the account: /.test(wrong.output),
      'a complaint',
    );
    expect(wrong.output).not.toContain('d3Jvbmc');
    await wrong.stop();
    expect(strict.orders).toBe(0);
    rmSync(join(certificates, `${NAME}+order`));
    const ours = await startWith('derpkit', certificates, ['-certmode', 'gcp', ...account, EAB_KEY], env);
    await clients(NAME, root);
    expect(strict.orders).toBe(1);
    await ours.stop();
    expect(readdirSync(certificates).sort()).toEqual(['acme_account+key', NAME]);
  });

  it('Tailscale’s client accepts a certificate that is replaced at a running relay, fast start included', async () => {
    const [first, second] = [await makeWorkspace(NAME), await makeWorkspace(NAME)];
    const certificates = temporary();
    const install = (from: string) => {
      for (const end of ['key', 'crt'])
        copyFileSync(join(from, `${NAME}.${end}`), join(certificates, `${NAME}.${end}`));
    };
    install(first.directory);
    const relay = await Relay.start('derpkit', first.peers, {
      directory: first.directory,
      name: 'derpkit',
      address: '127.0.0.1',
      flags: ['-certmode', 'manual', '-certdir', certificates, '-hostname', NAME, '-http-port', '-1'],
      env: { DERPKIT_PLANE: plane },
    });
    const check = async (workspace: Workspace) => {
      for (const scenario of ['meta-certificate', 'fast-start']) {
        const target = { tls: `https://127.0.0.1:${relay.port}`, 'server-name': NAME };
        await runScenario(workspace, scenario, target, { relay });
      }
    };
    try {
      await check(first);
      install(second.directory);
      await eventually(() => /a certificate has changed/.test(relay.output), 'the change to be seen');
      await check(second);
    } finally {
      await relay.stop();
      first.remove();
      second.remove();
    }
  });
});
