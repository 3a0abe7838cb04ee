/** `derper` running: what it serves, the files it makes, what it logs, and how it ends. */

import { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { notePreferredFrame } from '../../src/protocol/frame.js';
import { formatNodeKey, generateKeyPair, nodeKeyHex } from '../../src/protocol/key.js';
import { LANES } from '../helpers/lanes.js';
import { pemPair } from '../helpers/relay.js';
import { eventually, turn } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import {
  Command,
  type CommandOptions,
  lines,
  run,
  start,
  takenPort,
  takenUdpPort,
  temporary,
  withoutNative,
} from './commands.js';
import { askStun, fingerprintOf, get, handshake, keyOf, logIn, portOf } from './reach.js';

/** Those that can be had here. */
const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];

/** What is the same for all of them. */
const LOOPBACK = ['-a', '127.0.0.1:0'];

function startPlain(args: readonly string[] = [], options?: CommandOptions): Command {
  return start('derper', [...LOOPBACK, '-c', join(temporary(), 'derper.key'), '-stun=false', ...args], options);
}

/** `-certmode=manual` with what is in a directory. */
function manual(directory: string, hostname: string, ...more: string[]): string[] {
  const files = ['-c', join(directory, 'derper.key'), '-certdir', join(directory, 'certs')];
  return [...LOOPBACK, '-certmode=manual', '-hostname', hostname, ...files, '-stun=false', '-http-port=-1', ...more];
}

/** Plain HTTP with a key file in a directory. */
function plainIn(directory: string, ...more: string[]): string[] {
  return [...LOOPBACK, '-stun=false', '-c', join(directory, 'derper.key'), ...more];
}

describe('derper serves', () => {
  it('derper serves plain HTTP and STUN', async () => {
    const relay = start('derper', [...LOOPBACK, '-c', join(temporary(), 'derper.key'), '-stun-port=0']);
    const port = await portOf(relay, 'DERP over plain HTTP');
    const client = await logIn(port, await keyOf(relay));
    expect(await client.fence()).toEqual([]);
    expect((await get(port, '/generate_204')).status).toBe(204);
    expect((await askStun(await portOf(relay, 'STUN'))).readUInt16BE()).toBe(0x0101);
    // -http-port is for what is beside TLS.
    expect(relay.stderr).not.toMatch(/serving HTTP/);
  });

  it('derper serves neither DERP nor STUN if they are off', async () => {
    const relay = startPlain(['-derp=false', '-home=blank']);
    const port = await portOf(relay, 'DERP over plain HTTP');
    expect((await get(port, '/derp')).status).toBe(404);
    const home = await get(port, '/');
    expect([home.status, await home.text()]).toEqual([200, '']);
    expect(relay.stderr).not.toMatch(/serving STUN/);
  });

  it('derper serves TLS with the chain of the certificate directory, only for its name', async () => {
    const directory = temporary();
    const [pair, issuer] = [pemPair(['derp.test']), pemPair(['issuer.test'])];
    mkdirSync(join(directory, 'certs'));
    writeFileSync(join(directory, 'certs', 'derp.test.crt'), pair.chain + issuer.chain);
    writeFileSync(join(directory, 'certs', 'derp.test.key'), pair.key);
    const relay = start('derper', [...manual(directory, 'derp.test'), '-http-port=0']);
    const port = await portOf(relay, 'DERP over TLS');
    const { bytes } = await handshake(port, { servername: 'derp.test', ca: pair.chain, rejectUnauthorized: true });
    const nodeKey = await keyOf(relay);
    // Leaf, issuer, and the certificate that tells clients the relay's key.
    const parts = [new X509Certificate(pair.chain).raw, new X509Certificate(issuer.chain).raw];
    const places = [...parts, Buffer.from(nodeKey.replace('node', 'derp').replace(':', ''))].map((part) =>
      bytes.indexOf(part),
    );
    expect(places.every((place) => place > 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
    for (const servername of ['other.test', '']) await expect(handshake(port, { servername })).rejects.toThrow();
    const client = await logIn(port, nodeKey, { servername: 'derp.test' });
    expect(await client.fence()).toEqual([]);
    // A name is what clients verify; there is nothing to pin.
    expect(relay.stderr).not.toContain('DERPNode');
    const redirect = await get(await portOf(relay, 'HTTP'), '/x');
    expect(redirect.status).toBe(302);
  });

  it('derper serves TLS for an IP address with a certificate that it makes, keeps, and logs', async () => {
    const directory = temporary();
    const first = start('derper', manual(directory, '127.0.0.1'));
    const { leaf } = await handshake(await portOf(first, 'DERP over TLS'));
    expect(leaf.checkIP('127.0.0.1')).toBe('127.0.0.1');
    const [, json = ''] = await first.printed(/a DERPNode for this certificate: (.+)$/m);
    expect(JSON.parse(json)).toEqual({
      Name: 'custom',
      RegionID: 900,
      HostName: '127.0.0.1',
      CertName: `sha256-raw:${fingerprintOf(leaf)}`,
    });
    await first.stop();
    const certs = join(directory, 'certs');
    expect(readdirSync(certs).sort()).toEqual(['127.0.0.1.crt', '127.0.0.1.key']);
    expect(mode(certs)).toBe(0o700);
    expect(mode(join(certs, '127.0.0.1.crt'))).toBe(0o644);
    expect(mode(join(certs, '127.0.0.1.key'))).toBe(0o600);
    const second = start('derper', manual(directory, '127.0.0.1'));
    const again = await handshake(await portOf(second, 'DERP over TLS'));
    expect(fingerprintOf(again.leaf)).toBe(fingerprintOf(leaf));
  });

  it('derper -dev serves plain HTTP on port 3340, with a key that it does not store', async ({ skip }) => {
    if (!(await isFree(3340))) skip('somebody else has port 3340');
    const directory = temporary();
    const relay = start('derper', ['-dev', '-stun=false', '-a', 'ignored', '-c', join(directory, 'derper.key')]);
    expect(await portOf(relay, 'DERP over plain HTTP')).toBe(3340);
    const client = await logIn(3340, await keyOf(relay));
    expect(await client.fence()).toEqual([]);
    expect(readdirSync(directory)).toEqual([]);
    await relay.stop();
  });

  it('derper serves in a single process', async ({ skip }) => {
    if (!existsSync('/proc/self/stat')) skip('the system does not tell whose child a process is');
    const relay = startPlain();
    const client = await logIn(await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay));
    await client.fence();
    expect(childrenOf(relay.pid)).toEqual([]);
    // The same question has another answer where there are some.
    expect(childrenOf(process.pid)).toContain(relay.pid);
  });
});

describe('unusable certificates of derper', () => {
  const pair = pemPair(['derp.test']);
  const other = pemPair(['other.test']);

  it.each([
    ['none', {}, /: there is no derp\.test\.crt and no derp\.test\.key in .*certs$/],
    ['no key', { crt: pair.chain }, /: there is no derp\.test\.key in .*certs$/],
    ['garbage', { crt: 'garbage', key: pair.key }, /derp\.test\.crt: there is no certificate in the chain/],
    [
      'a broken one',
      { crt: pair.chain.replace('MII', 'AII'), key: pair.key },
      /derp\.test\.crt: there is no certificate/,
    ],
    ['a garbage key', { crt: pair.chain, key: 'not-so-secret' }, /derp\.test\.key: there is no private key in PEM/],
    ['the key of another', { crt: pair.chain, key: other.key }, /derp\.test\.key: the private key does not belong to/],
    [
      'that of another name',
      { crt: other.chain, key: other.key },
      /derp\.test\.crt is not valid for derp\.test: it is for other\.test$/,
    ],
  ])('%s: one line names flag and file', async (_name, files, message) => {
    const directory = temporary();
    mkdirSync(join(directory, 'certs'));
    for (const [kind, text] of Object.entries(files))
      writeFileSync(join(directory, 'certs', `derp.test.${kind}`), text);
    const { code, stderr } = await run('derper', manual(directory, 'derp.test'));
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr.startsWith('derper: -certdir: ')).toBe(true);
    expect(stderr.trimEnd()).toMatch(message);
    expect(stderr).not.toContain('secret');
  });

  it('one file that is a directory is refused', async () => {
    const directory = temporary();
    mkdirSync(join(directory, 'certs', 'derp.test.crt'), { recursive: true });
    const { code, stderr } = await run('derper', manual(directory, 'derp.test'));
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([
      `derper: -certdir: ${join(directory, 'certs', 'derp.test.crt')}: illegal operation on a directory`,
    ]);
  });
});

describe('derper’s key file', () => {
  it.each([
    ['a certificate that is missing', (directory: string) => manual(directory, 'derp.test')],
    ['a rate file that is missing', (directory: string) => plainIn(directory, '-rate-config', join(directory, 'none'))],
    [
      'a mesh key file that is missing',
      (directory: string) => plainIn(directory, '-mesh-psk-file', join(directory, 'none')),
    ],
    [
      'a mesh key file that is missing, and an address whose certificate would be made',
      (directory: string) => [...manual(directory, '127.0.0.1'), '-mesh-psk-file', join(directory, 'none')],
    ],
  ])('no key file is left behind by a start that fails for %s', async (_name, args) => {
    const directory = temporary();
    expect((await run('derper', args(directory))).code).toBe(1);
    expect(readdirSync(directory, { recursive: true })).toEqual([]);
  });

  it('a key file is made in derper’s form, readable by its owner alone, and used again', async () => {
    const path = join(temporary(), 'var', 'lib', 'derper.key');
    const args = [...LOOPBACK, '-stun=false', '-c', path];
    const first = start('derper', args);
    const made = await keyOf(first);
    await first.stop();
    const text = readFileSync(path, 'utf8');
    expect(text).toMatch(/^\{\n\t"PrivateKey": "privkey:[0-9a-f]{64}"\n\}$/);
    expect(mode(path)).toBe(0o600);
    expect(readdirSync(join(path, '..'))).toEqual(['derper.key']);
    const second = start('derper', args);
    expect(await keyOf(second)).toBe(made);
    await second.stop();
    expect(readFileSync(path, 'utf8')).toBe(text);
    // The secret half of it is in no log.
    const [, secret = ''] = /privkey:([0-9a-f]{64})/.exec(text) ?? [];
    for (const { stdout, stderr } of [first, second]) expect(stdout + stderr).not.toContain(secret);
  });
});

describe('derper’s log', () => {
  const STAMP = /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /;

  it('the log has plain lines on standard error', async () => {
    const relay = startPlain([], { env: { DERPKIT_PLANE: 'js', DERPKIT_LOG_LEVEL: 'debug' } });
    const client = await logIn(await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay));
    await relay.printed(/client connected/);
    await client.close();
    await relay.printed(/client disconnected/);
    const { stdout, stderr } = await relay.stop();
    expect(stdout).toBe('');
    for (const line of lines(stderr)) expect(line).toMatch(STAMP);
    expect(lines(stderr).map((line) => line.replace(STAMP, ''))).toEqual([
      expect.stringMatching(/^connections are bounded connections=\d+ files=\d+$/),
      expect.stringMatching(/^derper \d\S+ plane=js reason="[^"]+" key=nodekey:[0-9a-f]{64}$/),
      expect.stringMatching(/^the JavaScript plane emulates -tcp-keepalive-time and -tcp-user-timeout/),
      expect.stringMatching(/^serving DERP over plain HTTP addr=127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^debug: client connected client=\d+ key=nodekey:[0-9a-f]{64} addr=127\.0\.0\.1:\d+$/),
      expect.stringMatching(/^debug: client disconnected client=\d+ key=\S{72} addr=127\.0\.0\.1:\d+ reason=\S+$/),
      'stopping reason=SIGTERM',
    ]);
  });

  it.each(['js', 'native'])('the log does not grow with clients that connect and leave (%s)', async (plane) => {
    const relay = startPlain(['-disallow-app-names', 'banned'], { env: { DERPKIT_PLANE: plane } });
    const port = await portOf(relay, 'DERP over plain HTTP');
    const nodeKey = await keyOf(relay);
    for (let client = 0; client < 20; client++) await (await logIn(port, nodeKey)).close();
    for (let client = 0; client < 20; client++) {
      await logIn(port, nodeKey, undefined, { appName: 'banned' }).catch(() => undefined);
    }
    // The 20th has been told no before this is answered.
    await (await logIn(port, nodeKey)).fence();
    const { stderr } = await relay.stop();
    const about = lines(stderr).filter((line) => line.includes(' client '));
    // Five at once, and then a few a second.
    expect(about.length).toBeGreaterThanOrEqual(5);
    expect(about.length).toBeLessThan(20);
    for (const line of about)
      expect(line).toMatch(/ client refused key=nodekey:[0-9a-f]{64} addr=127\.0\.0\.1:\d+ app=banned verifier=deny /);
  });

  it('the log is JSON if asked for, with equal contents', async () => {
    const relay = startPlain([], { env: { DERPKIT_PLANE: 'js', DERPKIT_LOG_FORMAT: 'json' } });
    await relay.printed(/serving DERP/);
    const { stdout, stderr } = await relay.stop('SIGINT');
    expect(stdout).toBe('');
    const entries = lines(stderr).map((line) => JSON.parse(line) as { msg: string; time: number });
    expect(entries.every(({ time }) => Math.abs(time - Date.now()) < 60_000)).toBe(true);
    expect(entries.map(({ msg }) => msg)).toEqual([
      'connections are bounded',
      expect.stringMatching(/^derper \d/),
      expect.stringMatching(/the JavaScript plane emulates/),
      'serving DERP over plain HTTP',
      'stopping',
    ]);
    expect(entries.at(-1)).toMatchObject({ reason: 'SIGINT' });
  });

  it('the log has the requested level', async () => {
    const port = await freePort();
    const relay = startPlain(['-a', `127.0.0.1:${port}`], { env: { DERPKIT_LOG_LEVEL: 'silent' } });
    const answer = await eventually(() => get(port, '/derp/probe').catch(() => undefined), 'an answer');
    expect(answer.status).toBe(200);
    expect(await relay.stop()).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
  });
});

describe('derper’s variables', () => {
  it.each([
    ['DERPKIT_PLANE', 'js', /plane=js reason="it was selected"/],
    ['TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH', '5', /serving DERP/],
    // Go's derper takes these for the default.
    ['TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH', '0', /serving DERP/],
    ['TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH', '-3', /serving DERP/],
    ['DERPKIT_PLANE', '', /plane=/],
    ['TS_DERP_DISABLE_RTT_STATS', 'T', /serving DERP/],
    ['TS_DERP_DISABLE_RTT_STATS', '', /serving DERP/],
    ['TS_DERP_SENDER_CARDINALITY', 'false', /serving DERP/],
    ['TS_DERP_SENDER_CARDINALITY', 'true', /serving DERP/],
    ['DERP_DEBUG_LOGS', '0', /serving DERP/],
  ])('the variable works: %s=%s', async (name, value, pattern) => {
    const relay = startPlain([], { env: { [name]: value } });
    await relay.printed(pattern);
    await relay.printed(/serving DERP/);
    expect((await relay.stop()).code).toBe(0);
  });

  it.each([
    ['DERPKIT_PLANE', 'bogus', /^must be auto, native or js$/],
    ['DERPKIT_WORKERS', '-1', /^must be a number from 0 to 256$/],
    ['DERPKIT_LOG_FORMAT', 'xml', /^must be text or json$/],
    ['DERPKIT_LOG_LEVEL', 'loud', /^must be trace, debug, info, warn, error or silent$/],
    ['TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH', 'deep', /^must be a number/],
    ['TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH', '99999999', /^must be a number from 1 to 65536$/],
    ['TS_DERP_DISABLE_RTT_STATS', 'yes', /^must be true or false$/],
    ['TS_DERP_SENDER_CARDINALITY', 'yes', /^must be true or false$/],
    ['DERP_DEBUG_LOGS', 'on', /^must be true or false$/],
    ['DERP_PROBER_DEBUG_LOGS', '2', /^must be true or false$/],
    ['TS_DEBUG_VERBOSE_DROPS', 'nodekey:abc', /^must be node keys of 64 hex digits, separated by commas$/],
  ])('%s=%s is refused, and one line names the variable', async (name, value, message) => {
    const { code, stderr } = await startPlain([], { env: { [name]: value } }).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr.startsWith(`derper: ${name}: `)).toBe(true);
    expect(stderr.trimEnd().slice(`derper: ${name}: `.length)).toMatch(message);
  });
});

describe.each(PLANES)('derper’s debug logs, on the %s plane', (plane) => {
  it('DERP_DEBUG_LOGS logs what every client does', async () => {
    const relay = startPlain([], { env: { DERPKIT_PLANE: plane, DERP_DEBUG_LOGS: 'true' } });
    const client = await logIn(await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay));
    const key = formatNodeKey(client.key);
    const [, id] = await relay.printed(new RegExp(`client logs in client=(\\d+) key=${key} addr=127\\.0\\.0\\.1:`));
    client.send(notePreferredFrame(true));
    await relay.printed(new RegExp(`client changes its home relay client=${id} home=true$`, 'm'));
    await client.close();
    await relay.printed(new RegExp(`client ends client=${id} reason=disconnected$`, 'm'));
    expect((await relay.stop()).code).toBe(0);
  });

  it('DERP_PROBER_DEBUG_LOGS logs what probers do', async () => {
    const relay = startPlain([], { env: { DERPKIT_PLANE: plane, DERP_PROBER_DEBUG_LOGS: '1' } });
    const [port, nodeKey] = [await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay)];
    await logIn(port, nodeKey);
    const prober = await logIn(port, nodeKey, undefined, { prober: true });
    await relay.printed(new RegExp(`client logs in client=\\d+ key=${formatNodeKey(prober.key)} .* prober=true `));
    const { stderr } = await relay.stop();
    expect(stderr.match(/client logs in/g)).toHaveLength(1);
  });

  it('TS_DEBUG_VERBOSE_DROPS logs packets dropped on their way to a key, and to no other', async () => {
    const [watched, other] = [generateKeyPair().publicKey, generateKeyPair().publicKey];
    const env = { DERPKIT_PLANE: plane, TS_DEBUG_VERBOSE_DROPS: nodeKeyHex(watched).toUpperCase() };
    const relay = startPlain([], { env });
    const client = await logIn(await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay));
    client.sendPacket(other, 'x');
    client.sendPacket(watched, 'x');
    client.sendPacket(watched, 'x');
    const [from, to] = [client.key, watched].map(formatNodeKey);
    await relay.printed(new RegExp(`packets dropped from=${from} key=${to} packets.unknown_dest=2$`, 'm'));
    const { stderr } = await relay.stop();
    expect(stderr.match(/packets dropped/g)).toHaveLength(1);
  });
});

it('DERPKIT_PLANE=native says why the native plane cannot be loaded', async () => {
  const line = [process.execPath, withoutNative('derper'), ...LOOPBACK, '-c', join(temporary(), 'derper.key')] as const;
  const { code, stderr } = await new Command([...line], { env: { DERPKIT_PLANE: 'native' } }).end();
  expect(code).toBe(1);
  expect(lines(stderr)).toEqual([expect.stringMatching(/^derper: DERPKIT_PLANE: .*native plane/)]);
});

describe('unavailable ports', () => {
  it.each(['-a', '-http-port', '-stun-port'])(
    '%s: one line names port and flag, and no process stays',
    async (flag) => {
      const directory = temporary();
      const taken = flag === '-stun-port' ? await takenUdpPort() : await takenPort();
      const value = flag === '-a' ? `:${taken}` : String(taken);
      const args = [
        ...manual(directory, '127.0.0.1'),
        '-a=:0',
        '-stun=true',
        '-stun-port=0',
        '-http-port=0',
        flag,
        value,
      ];
      const { code, stdout, stderr } = await run('derper', args);
      expect(code).toBe(1);
      expect(stdout).toBe('');
      expect(lines(stderr)).toHaveLength(1);
      expect(stderr).toMatch(
        new RegExp(`^derper: cannot listen on :${taken} \\(\\w+\\): the port is already in use; `),
      );
      expect(stderr).toMatch(new RegExp(`choose another port.* with ${flag}$`, 'm'));
    },
  );

  it('an address of another machine is refused', async () => {
    const { code, stderr } = await startPlain(['-a', '192.0.2.1:0']).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr).toMatch(
      /^derper: cannot listen on 192\.0\.2\.1:0 \(tcp\): .*address.*; choose an address of this machine, .* with -a$/m,
    );
  });
});

describe('the end of derper', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)(
    '%s ends derper at once with status 0, whatever clients are connected',
    async (signal) => {
      const directory = temporary();
      const relay = start('derper', [...manual(directory, '127.0.0.1'), '-http-port=0', '-stun=true', '-stun-port=0']);
      const [port, httpPort] = [await portOf(relay, 'DERP over TLS'), await portOf(relay, 'HTTP')];
      const nodeKey = await keyOf(relay);
      const clients = await Promise.all([1, 2, 3].map(() => logIn(port, nodeKey, {})));
      // Other connections are not that far: idle on HTTP, in the middle of a request, or of a handshake.
      const others = await Promise.all(
        [httpPort, httpPort, port].map((to) => Wire.open({ host: '127.0.0.1', port: to })),
      );
      others[1]?.write('GET / HTTP/1.1\r\n');
      others[2]?.write('\x16\x03');
      await Promise.all(others.map((wire) => wire.flushed()));
      // It waits for none of them: their own deadlines are ten seconds and more.
      const { code } = await relay.stop(signal);
      expect(code).toBe(0);
      await Promise.all([...clients.map((client) => client.closed()), ...others.map((wire) => wire.ended())]);
    },
  );

  it('a repeated signal does no harm', async () => {
    const relay = startPlain();
    await portOf(relay, 'DERP over plain HTTP');
    while (relay.signal('SIGINT')) await turn(1);
    expect(await relay.end()).toMatchObject({ code: 0, signal: null });
  });

  it('a signal ends a start that hangs', async ({ skip }) => {
    const path = join(temporary(), 'derper.key');
    const made = await new Command(['mkfifo', path]).end().catch(() => undefined);
    if (made?.code !== 0) skip('there is no mkfifo');
    const relay = start('derper', [...LOOPBACK, '-stun=false', '-c', path]);
    // Opens as soon as the relay waits to read its key.
    const writer = await open(path, 'w');
    const { signal } = await relay.stop();
    expect(signal).toBe('SIGTERM');
    await writer.close();
  });
});

function mode(path: string): number {
  return statSync(path).mode & 0o777;
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return new Promise((resolve) => {
    server.once('error', () => resolve(false));
    server.listen(port, () => server.close(() => resolve(true)));
  });
}

/** The ids of a process's children, zombies among them. */
function childrenOf(parent: number): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      // "pid (comm) state ppid …"; what is gone by now is no child.
      const stat = existsSync(`/proc/${name}/stat`) ? readStat(name) : '';
      const [, ppid] = /^\d+ \(.*\) \S (\d+)/s.exec(stat) ?? [];
      return Number(ppid) === parent ? [Number(name)] : [];
    });
}

function readStat(name: string): string {
  try {
    return readFileSync(`/proc/${name}/stat`, 'utf8');
  } catch {
    return '';
  }
}
