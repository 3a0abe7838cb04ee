/** `derpkit tap`: what an operator sees of the packets that pass. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatNodeKey } from '../../src/protocol/key.js';
import { type DerpClient, discoPacket } from '../helpers/client.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { blocksOf } from '../helpers/pcapng.js';
import { eventually } from '../helpers/wait.js';
import { binPath, Command, type CommandOptions, lines, type Result, run, start, temporary } from './commands.js';
import { DEBUG_KEY, FAR, type Watched, watched } from './watched.js';

/** A tap on a relay, once it is open. */
async function tap({ url }: Watched, args: readonly string[], options?: CommandOptions): Promise<Command> {
  const command = start('derpkit', ['tap', '--url', url, ...args], options);
  await command.printed(/^packets of /m);
  return command;
}

/** What it says on its standard error behind its first line. */
const said = ({ stderr }: Result) => lines(stderr).slice(1);

async function pair(relay: Watched): Promise<[DerpClient, DerpClient]> {
  return [await relay.connect(), await relay.connect()];
}

const short = ({ key }: DerpClient) => formatNodeKey(key).slice('nodekey:'.length, 'nodekey:'.length + 16);

describe.each(PLANE_KINDS)('derpkit tap, on the %s plane', (plane) => {
  it('derpkit tap prints a line for each packet, and ends after as many as it was asked for', async () => {
    const relay = await watched(plane);
    const [a, b] = await pair(relay);
    const command = await tap(relay, ['--count', '2'], { env: { TZ: 'UTC' } });
    a.sendPacket(b.key, 'a secret');
    a.sendPacket(b.key, discoPacket(1));
    await a.fence();
    const result = await command.end();
    const way = `${short(a)} > ${short(b)}`;
    expect(lines(result.stdout).map((line) => line.replace(/^\d\d:\d\d:\d\d\.\d{3} /, ''))).toEqual([
      `${way} other 8`,
      `${way} disco ${discoPacket(1).length}`,
    ]);
    expect(result.code).toBe(0);
    expect(said(result)).toEqual(['2 packets, 0 missed']);
  });

  it('derpkit tap shows the packets of a client, why they were dropped, and payloads only if asked', async () => {
    const relay = await watched(plane);
    const [a, b] = await pair(relay);
    const nobody = await relay.connect();
    await nobody.close();
    const args = ['--key', formatNodeKey(nobody.key), '--payload', '40', '--count', '1'];
    const command = await tap(relay, args);
    a.sendPacket(b.key, 'unseen');
    await a.fence();
    // Until the relay knows that it has left.
    while (!(await command.printed(/dropped: unknown_dest|$/))[0]) {
      a.sendPacket(nobody.key, Buffer.alloc(50, 0xab));
      await a.fence();
    }
    const { code, stdout } = await command.end();
    expect(lines(stdout)).toEqual([
      expect.stringMatching(new RegExp(` ${short(a)} > ${short(nobody)} other 50 dropped: unknown_dest$`)),
      `    ${'ab'.repeat(32)}`,
      `    ${'ab'.repeat(8)}`,
    ]);
    expect(code).toBe(0);
  });

  it('derpkit tap writes a file for Wireshark, whole whenever it ends, for its owner alone', async () => {
    const relay = await watched(plane, { tls: true });
    const [a, b] = await pair(relay);
    const path = join(temporary(), 'tap.pcapng');
    // A longer file of before, which others may read.
    writeFileSync(path, Buffer.alloc(1 << 22, 'x'), { mode: 0o644 });
    const command = start('derpkit', ['tap', '--url', relay.url, '--pcapng', path, '--payload', '65536']);
    await eventually(() => readFileSync(path)[0] === 0x0a, 'the file to begin anew');
    const packets = () => blocksOf(readFileSync(path)).filter(({ type }) => type === 'packet');
    await eventually(async () => {
      a.sendPacket(b.key, Buffer.alloc(20_000, 'x'));
      await a.fence();
      return packets().length > 10;
    }, 'packets in the file');
    const result = await command.stop('SIGINT');
    const found = packets();
    expect(result).toMatchObject({ code: 0, stdout: '' });
    expect(said(result)).toEqual([`${found.length} packets, 0 missed`]);
    expect(found.every(({ data }) => data?.subarray(48).equals(Buffer.alloc(20_000, 'x')))).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('derpkit tap ends without a message when the reader of its output leaves', async () => {
    const relay = await watched(plane);
    const [a, b] = await pair(relay);
    const args = [process.execPath, binPath('derpkit'), 'tap', '--json', '--url', relay.url];
    const command = new Command(['bash', '-o', 'pipefail', '-c', '"$@" | head -n 1; echo $?', 'bash', ...args]);
    await command.printed(/^packets of /m);
    await eventually(async () => {
      a.sendPacket(b.key, 'packet');
      await a.fence();
      return /^\d+$/m.test(command.stdout);
    }, 'the end of the tap');
    const result = await command.end();
    const [line = '', code] = lines(result.stdout);
    expect(JSON.parse(line)).toMatchObject({ source: formatNodeKey(a.key), kind: 'other', length: 6 });
    expect({ code, said: said(result) }).toEqual({ code: '0', said: [] });
  });

  it('derpkit tap fails when another one is open, and when the relay ends', async () => {
    const relay = await watched(plane);
    const first = await tap(relay, []);
    expect(await run('derpkit', ['tap', '--url', relay.url])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^derpkit tap: http:\S+: it answers 409: a tap is open already/),
    });
    await relay.command.stop();
    const { code, stderr } = await first.end();
    expect({ code, last: lines(stderr).at(-1) }).toEqual({
      code: 1,
      last: `derpkit tap: ${relay.url}: the relay has ended the tap`,
    });
  });
});

describe('the debug key of derpkit tap', () => {
  it.skipIf(!FAR)('derpkit tap from afar needs the debug key, which goes to the right relay alone', async () => {
    const relay = await watched('js', { tls: true });
    const [, fingerprint = ''] = await relay.command.printed(/"CertName":"(sha256-raw:[0-9a-f]{64})"/);
    const url = `https://${FAR}:${relay.port}`;
    const ask = (...args: string[]) => run('derpkit', ['tap', '--url', url, '--count', '1', ...args]);
    const key = ['--debug-key-file', relay.keyFile];

    const unknown = await ask(...key);
    expect(unknown).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/certificate.*; --pin takes a certificate/),
    });
    const other = await ask(...key, '--pin', `sha256-raw:${'0'.repeat(64)}`);
    expect(other).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`not the one of --pin; its fingerprint is ${fingerprint}`),
    });
    const keyless = await ask('--pin', fingerprint);
    expect(keyless).toMatchObject({ code: 1, stderr: expect.stringMatching(/it answers 403: debug access denied/) });

    const [a, b] = await pair(relay);
    const asked = start('derpkit', ['tap', '--url', url, '--count', '1', ...key, '--pin', fingerprint]);
    await eventually(async () => {
      a.sendPacket(b.key, 'packet');
      await a.fence();
      return asked.stdout !== '';
    }, 'a packet to be shown');
    expect(await asked.end()).toMatchObject({ code: 0 });
    for (const { stdout, stderr } of [unknown, other, keyless]) expect(stdout + stderr).not.toContain(DEBUG_KEY);
  });

  it.each([
    ['http://192.0.2.1', 'the debug key would cross the network in the clear'],
    ['ftp://127.0.0.1', 'the URL must begin with http:// or https://'],
  ])('derpkit tap sends no debug key to %s', async (url, message) => {
    const keyFile = (await watched('js')).keyFile;
    const { code, stderr } = await run('derpkit', ['tap', '--url', url, '--debug-key-file', keyFile]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining(`derpkit tap: ${url}: ${message}`) });
  });

  it('derpkit tap names the file whose debug key it cannot read', async () => {
    const path = join(temporary(), 'none');
    const { code, stderr } = await run('derpkit', ['tap', '--url', 'http://127.0.0.1:1', '--debug-key-file', path]);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `derpkit tap: http://127.0.0.1:1: the debug key in ${path} cannot be read: no such file or directory\n`,
    });
  });
});

describe('the options of derpkit tap', () => {
  it.each([
    ['--key', 'any'],
    ['--pin', 'any'],
    ['--payload', '65537'],
    ['--count', '0'],
  ])('derpkit tap refuses %s %s', async (option, value) => {
    const { code, stderr } = await run('derpkit', ['tap', option, value]);
    expect(code).toBe(2);
    expect(stderr).toMatch(new RegExp(`^error: option '${option} <\\w+>' argument '${value}' is invalid`));
  });
});
