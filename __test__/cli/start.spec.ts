/** `npm start` and `derpkit start`: a relay to try out, from nothing but a clone. */

import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { freePorts } from '../../src/bench/ports.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { eventually } from '../helpers/wait.js';
import {
  Command,
  lines,
  networkEnvironment,
  ROOT,
  run,
  start,
  takenPort,
  takenUdpPort,
  temporary,
} from './commands.js';
import { askStun, fingerprintOf, get, handshake, logIn } from './reach.js';

const INSTALLING = 'derpkit: installing dependencies: half a minute the first time';
const LONG = process.env.DERPKIT_LONG === '1';

interface Ports {
  readonly port: number;
  readonly httpPort: number;
  readonly stunPort: number;
}

async function threePorts(): Promise<Ports> {
  const [port, httpPort, stunPort] = (await freePorts(3)) as [number, number, number];
  return { port, httpPort, stunPort };
}

function flags({ port, httpPort, stunPort }: Ports): string[] {
  return ['--port', String(port), '--http-port', String(httpPort), '--stun-port', String(stunPort)];
}

/** What a fresh clone has: everything that is not ignored, and no more. */
function clone(): string {
  const directory = join(temporary(), 'derpkit');
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT });
  // What is deleted and not committed is listed, too.
  const names = listed
    .toString()
    .split('\0')
    .filter((name) => name !== '' && existsSync(join(ROOT, name)));
  for (const name of names) cpSync(join(ROOT, name), join(directory, name), { preserveTimestamps: true });
  return directory;
}

/** Installs the packages for a build and a run, without waiting for an installation. */
function installInto(directory: string): void {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
  for (const [path, { dev = false }] of Object.entries(packages)) {
    const needed = !dev || /typescript|types|uplot/.test(path);
    if (path !== '' && needed && existsSync(join(ROOT, path))) linkTree(join(ROOT, path), join(directory, path));
  }
  // As npm does at the end of a whole installation; the clone's own lock file has kept its date.
  writeFileSync(join(directory, 'node_modules/.package-lock.json'), '{}');
}

interface Lock {
  readonly packages: Record<string, { readonly dev?: boolean }>;
}

/** The same files at another place: links where both are on one disk, copies otherwise. */
function linkTree(from: string, to: string): void {
  mkdirSync(to, { recursive: true });
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) linkTree(source, target);
    else if (entry.isFile() && !existsSync(target)) link(source, target);
  }
}

function link(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    cpSync(from, to);
  }
}

function touch(path: string, date = new Date()): void {
  utimesSync(path, date, date);
}

/** A directory for PATH without Rust, because a build of the native plane takes longer than a test may. */
function withoutRust(directory: string): string {
  const tools = join(directory, '../tools');
  mkdirSync(tools);
  script(join(tools, 'cargo'), 'exit 1');
  return tools;
}

function script(path: string, commands: string): void {
  writeFileSync(path, `#!/bin/sh\n${commands}\n`);
  chmodSync(path, 0o755);
}

/** What a relay says that admits every client. */
const OPEN = / warn: every client that can reach this relay may use it; DERPKIT_ADMISSION_VERIFIERS restricts that$/;

/** Lines of what was built, but for what was left out of it, and for what the relay says about its clients. */
function told(stderr: string): string[] {
  return lines(stderr).filter((line) => !line.includes('the native plane is left out') && !OPEN.test(line));
}

/** `npm start` in a terminal of its own. */
function npmStart(directory: string, args: readonly string[], env: Readonly<Record<string, string>>): Command {
  const quiet = { npm_config_update_notifier: 'false', npm_config_cache: join(directory, '../npm-cache') };
  return new Command(['npm', 'start', '--', ...args], {
    cwd: directory,
    group: true,
    env: { HOME: dirname(directory), ...quiet, ...env },
    patience: LONG ? 550_000 : 50_000,
  });
}

/** What is printed about a running relay. */
interface Summary {
  readonly nodeKey: string;
  readonly data: string;
  readonly policy: { readonly derpMap: { readonly Regions: Record<string, unknown> } };
  readonly headscale: unknown;
}

/** Waits for everything that is printed, and reads it. */
async function summary(relay: Command): Promise<Summary> {
  await relay.printed(/certname: sha256-raw:[0-9a-f]{64}\n$/);
  const [, nodeKey = ''] = await relay.printed(/^ {2}node key {2}(nodekey:[0-9a-f]{64})$/m);
  const [, data = ''] = await relay.printed(/^ {2}data {6}(\/.+)$/m);
  const [, json = '', yaml = ''] = await relay.printed(
    /^For Tailscale, .*:\n\n(\{\n.*?^\})\n\nFor headscale, .*:\n\n(.*)/ms,
  );
  return { nodeKey, data, policy: JSON.parse(json), headscale: parse(yaml, { mapAsMap: true }) };
}

describe('npm start', () => {
  it('npm start builds, runs, tells what a tailnet needs, and ends with Ctrl-C; a second one just runs', {
    timeout: 120_000,
  }, async () => {
    const directory = clone();
    installInto(directory);
    const env = { PATH: [withoutRust(directory), process.env.PATH].join(delimiter) };
    const ports = await threePorts();
    const { port, httpPort, stunPort } = ports;

    const first = npmStart(directory, flags(ports), env);
    const { nodeKey, data, policy, headscale } = await summary(first);
    const { leaf } = await handshake(port, { servername: 'localhost' });
    const certName = `sha256-raw:${fingerprintOf(leaf)}`;
    expect(policy).toEqual({
      derpMap: {
        Regions: {
          900: {
            RegionID: 900,
            RegionCode: 'derpkit',
            RegionName: 'derpkit',
            Nodes: [
              {
                Name: '900a',
                RegionID: 900,
                HostName: 'localhost',
                DERPPort: port,
                STUNPort: stunPort,
                CertName: certName,
              },
            ],
          },
        },
      },
    });
    const node = {
      name: '900a',
      regionid: 900,
      hostname: 'localhost',
      derpport: port,
      stunport: stunPort,
      certname: certName,
    };
    const region = { regionid: 900, regioncode: 'derpkit', regionname: 'derpkit', nodes: [node] };
    expect(plainObject(headscale)).toEqual({ regions: { 900: region } });
    // A number to YAML, not a text: headscale tells them apart.
    expect([...((headscale as Map<string, unknown>).get('regions') as Map<unknown, unknown>).keys()]).toEqual([900]);
    for (const url of [
      `https://localhost:${port}/derp`,
      `http://localhost:${httpPort}/`,
      `localhost:${stunPort}/udp`,
    ]) {
      expect(first.stdout).toContain(` ${url}\n`);
    }
    expect(first.stdout).toMatch(/^ {2}plane {5}\w+ \(\S.*\)$/m);
    expect(first.stdout).toMatch(/^ {2}For clients on other machines: npm start -- --host </m);
    expect(told(first.stderr)).toEqual(['derpkit: building', 'derpkit: starting']);

    expect(leaf.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' });
    expect(leaf.subjectAltName).toBe('DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1');
    expect((await get(httpPort, '/generate_204')).status).toBe(204);
    expect((await askStun(stunPort)).readUInt16BE()).toBe(0x0101);
    const client = await logIn(port, nodeKey, { ca: leaf.toString(), rejectUnauthorized: true });
    expect(await client.fence()).toEqual([]);

    expect(data).toBe(join(directory, '.derpkit'));
    expect(readdirSync(data).sort()).toEqual(['certs', 'derper.key']);
    expect(readdirSync(join(data, 'certs')).sort()).toEqual(['derpkit.crt', 'derpkit.key']);
    for (const name of ['derper.key', 'certs/derpkit.key']) expect(statSync(join(data, name)).mode & 0o777).toBe(0o600);
    const { code, signal } = await first.interruptGroup();
    expect({ code, signal }).toEqual({ code: 0, signal: null });
    expect(isRunning(-first.pid)).toBe(false);

    const built = statSync(join(directory, 'dist/.built')).mtimeMs;
    const second = npmStart(directory, flags(ports), env);
    expect((await summary(second)).nodeKey).toBe(nodeKey);
    expect(fingerprintOf((await handshake(port)).leaf)).toBe(fingerprintOf(leaf));
    const end = await second.interruptGroup();
    expect({ code: end.code, told: told(end.stderr) }).toEqual({ code: 0, told: [] });
    expect(statSync(join(directory, 'dist/.built')).mtimeMs).toBe(built);

    // A service manager tells npm alone; a hang-up that comes to the relay alone ends nothing.
    const third = npmStart(directory, flags(ports), env);
    await summary(third);
    process.kill(Number(readFileSync(`/proc/${third.pid}/task/${third.pid}/children`, 'utf8')), 'SIGHUP');
    await third.printed(/SIGHUP is ignored/);
    expect((await third.stop('SIGTERM')).code).toBe(0);
    expect(isRunning(-third.pid)).toBe(false);

    // A port in use, whichever it is, is reported in one line.
    for (const [flag, taken] of [
      ['--port', await takenPort()],
      ['--http-port', await takenPort()],
      ['--stun-port', await takenUdpPort()],
    ] as const) {
      const relay = npmStart(directory, [...flags(ports), flag, String(taken)], env);
      const refused = await relay.end();
      expect(refused.code).toBe(1);
      expect(lines(refused.stderr)).toHaveLength(1);
      expect(refused.stderr).toMatch(
        new RegExp(`^derpkit: cannot listen on :${taken} .*: the port is already in use; choose another port`),
      );
      expect(refused.stderr.trimEnd().endsWith(` with npm start -- ${flag}`)).toBe(true);
      expect(refused.stdout).not.toContain('running');
      expect(isRunning(-relay.pid)).toBe(false);
    }
  });

  it('npm start installs missing packages once, and builds changed sources', { timeout: 120_000 }, async () => {
    const directory = clone();
    const tools = withoutRust(directory);
    // Stands for npm: it is asked to install, and what it would install is there.
    installInto(join(directory, '../installed'));
    const log = join(directory, '../npm.log');
    writeFileSync(log, '');
    script(join(tools, 'npm'), `echo "$@" >>'${log}'\nmv ../installed/node_modules .`);
    const asked = () => lines(readFileSync(log, 'utf8'));
    const startAgain = (args: readonly string[]) =>
      new Command([process.execPath, 'packaging/start.mjs', ...args], {
        cwd: directory,
        env: { PATH: [tools, process.env.PATH].join(delimiter) },
        patience: 50_000,
      });
    const startOnce = async () => {
      const relay = startAgain(flags(await threePorts()));
      await summary(relay);
      return told((await relay.stop('SIGINT')).stderr);
    };

    expect(await startOnce()).toEqual([INSTALLING, 'derpkit: building', 'derpkit: starting']);
    expect(asked()).toEqual(['ci --no-audit --no-fund --loglevel=error']);
    expect(await startOnce()).toEqual([]);
    touch(join(directory, 'src/relay.ts'), new Date(Date.now() + 1000));
    expect(await startOnce()).toEqual(['derpkit: building', 'derpkit: starting']);
    expect(asked()).toHaveLength(1);

    // What cannot be built is said once, and not run.
    writeFileSync(join(directory, 'src/version.ts'), 'export const VERSION: string = 1;\n');
    const broken = await startAgain([]).end();
    expect({ code: broken.code, stdout: broken.stdout }).toEqual({ code: 1, stdout: '' });
    expect(broken.stderr).toMatch(/^derpkit: building\nsrc\/version\.ts\(1,14\): error /);
    expect(broken.stderr.match(/failed/g)).toHaveLength(1);
  });

  it.runIf(LONG)('npm start works in a bare clone, with a real installation', { timeout: 600_000 }, async () => {
    const directory = clone();
    // The tools find what is theirs in the home directory.
    const { HOME = '' } = process.env;
    const relay = npmStart(directory, flags(await threePorts()), { ...networkEnvironment(), HOME });
    const { data } = await summary(relay);
    expect(data).toBe(join(directory, '.derpkit'));
    const own = lines(relay.stderr).filter((line) => line.startsWith('derpkit: '));
    expect(own.slice(0, 2)).toEqual([INSTALLING, 'derpkit: building']);
    expect((await relay.interruptGroup()).code).toBe(0);
  });
});

describe('derpkit start', () => {
  it('derpkit start uses a given host in certificate, URLs and maps', async () => {
    const directory = join(temporary(), 'data');
    const ports = await threePorts();
    const args = ['start', '--data-dir', directory, ...flags(ports), '--host', '192.0.2.7', '--http-port', '-1'];
    const relay = start('derpkit', args);
    const { data, policy, headscale } = await summary(relay);
    expect(data).toBe(directory);
    const { leaf } = await handshake(ports.port);
    expect(['192.0.2.7', '127.0.0.1', '::1'].map((address) => leaf.checkIP(address))).not.toContain(undefined);
    expect(leaf.checkHost('localhost')).toBe('localhost');
    expect(policy.derpMap.Regions).toMatchObject({ 900: { Nodes: [{ HostName: '192.0.2.7', IPv4: '192.0.2.7' }] } });
    expect(plainObject(headscale)).toMatchObject({ regions: { 900: { nodes: [{ ipv4: '192.0.2.7' }] } } });
    expect(relay.stdout).toContain(` https://192.0.2.7:${ports.port}/derp\n`);
    expect(relay.stdout).not.toMatch(/http:\/\/|other machines/);
    const { code, stderr } = await relay.stop('SIGINT');
    expect({ code, said: lines(stderr) }).toEqual({ code: 0, said: [expect.stringMatching(OPEN)] });
  });

  it('derpkit start serves what it promises, whatever variables are set for derpkit serve, and names those that it ignores', async () => {
    const [directory, ports] = [temporary(), await threePorts()];
    const env = {
      DERPKIT_CERT_MODE: 'off',
      // What it says is what happens, so that nothing is ignored. The image sets such variables.
      DERPKIT_STUN_PORT: String(ports.stunPort),
      DERPKIT_STUN: 'false',
      DERPKIT_KEY_FILE: '/nonexistent/derper.key',
      DERPKIT_CONFIG: '/nonexistent/relay.yaml',
      DERPKIT_DATA_DIR: join(directory, 'data'),
      DERPKIT_LOG_LEVEL: 'debug',
      DERPKIT_HOME: '',
      DERPKIT_STUN_PROT: '3478',
    };
    const relay = start('derpkit', ['start', ...flags(ports), '--host', '::1'], { env });
    const { nodeKey, data } = await summary(relay);
    expect(data).toBe(env.DERPKIT_DATA_DIR);
    expect(relay.stdout).toContain(` https://[::1]:${ports.port}/derp\n`);
    await askStun(ports.stunPort);
    const client = await logIn(ports.port, nodeKey, {});
    await client.fence();
    await relay.printed(/client connected/);
    const { stderr } = await relay.stop();
    expect(lines(stderr).filter((line) => line.includes('ignore'))).toEqual([
      expect.stringMatching(/ warn: the variable DERPKIT_STUN_PROT names no .*; did you mean DERPKIT_STUN_PORT\?$/),
      expect.stringMatching(
        / warn: derpkit start ignores DERPKIT_CONFIG, DERPKIT_CERT_MODE, DERPKIT_KEY_FILE, DERPKIT_STUN; derpkit serve reads them$/,
      ),
    ]);
    expect(lines(stderr).filter((line) => OPEN.test(line))).toHaveLength(1);
  });

  it('derpkit start admits the clients that variables of admission let in, and no others', async () => {
    const [directory, ports] = [temporary(), await threePorts()];
    const list = join(directory, 'allow.txt');
    writeFileSync(list, '');
    const env = { DERPKIT_ADMISSION_VERIFIERS: JSON.stringify([{ keys: list }]), DERPKIT_DATA_DIR: directory };
    const relay = start('derpkit', ['start', ...flags(ports)], { env });
    const { nodeKey } = await summary(relay);
    await expect(logIn(ports.port, nodeKey, {})).rejects.toThrow();
    const known = generateKeyPair();
    writeFileSync(list, `${formatNodeKey(known.publicKey)}\n`);
    relay.signal('SIGHUP');
    await eventually(
      () => logIn(ports.port, nodeKey, {}, { keys: known }).catch(() => undefined),
      'the client of the list',
    );
    await expect(logIn(ports.port, nodeKey, {})).rejects.toThrow();
    const { code, stderr } = await relay.stop();
    expect(code).toBe(0);
    expect(stderr).not.toMatch(/every client|ignore/);
  });

  it.each([
    [['--port', 'x'], 'derpkit: --port: must be a port from 0 to 65535'],
    [['--port', '70000'], 'derpkit: --port: must be a port from 0 to 65535'],
    [['--http-port', 'x'], 'derpkit: --http-port: must be a port from 0 to 65535, or -1 for none'],
    [['--stun-port', '-1'], 'derpkit: --stun-port: must be a port from 0 to 65535'],
    [['--host', ''], 'derpkit: --host: must be a host name or an IP address'],
    [['--host', 'https://relay.test'], 'derpkit: --host: must be a host name or an IP address'],
    [['--data-dir', ''], 'derpkit: --data-dir: must be a path'],
    [
      ['--port', '9443', '--http-port', '9443'],
      'derpkit: --http-port: 9443 is the port of the relay itself; choose another, or -1 for none',
    ],
  ])('%j is refused, in one line', async (args, message) => {
    const { code, stdout, stderr } = await run('derpkit', ['start', '--data-dir', temporary(), ...args]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(lines(stderr)).toEqual([message]);
  });

  it.each([
    ['DERPKIT_PLANE', 'bogus', 'DERPKIT_PLANE: must be auto, native or js'],
    [
      'DERPKIT_ADMISSION_VERIFIERS',
      '[{}]',
      'DERPKIT_ADMISSION_VERIFIERS.0: must be an object with one of tailscaled, url and keys',
    ],
  ])('derpkit start reports an unusable variable, too: %s', async (name, value, message) => {
    const env = { [name]: value, DERPKIT_DATA_DIR: temporary() };
    const { code, stderr } = await run('derpkit', ['start'], { env });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derpkit: ${message}`]);
  });
});

/** Maps as objects, all the way down. */
function plainObject(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, item]) => [key, plainObject(item)]));
  return Array.isArray(value) ? value.map(plainObject) : value;
}

/** Whether anything is left of a process or, for a negative id, of a group. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
