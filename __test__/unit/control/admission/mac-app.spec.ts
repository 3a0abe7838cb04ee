/** Tailscale's app for macOS, found by its files, which the test makes in a directory of its own. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { defaultSocket, localTailscaled } from '../../../../src/control/admission/local-tailscaled.js';
import { lsof, MacApp } from '../../../../src/control/admission/mac-app.js';
import { Tailscaled } from '../../../../src/control/admission/tailscaled.js';
import { formatNodeKey, generateKeyPair } from '../../../../src/protocol/key.js';
import { reply, TestVerifier, tailscaled } from '../../../helpers/verifier.js';

const question = { key: generateKeyPair().publicKey, address: '192.0.2.1' };
const KNOWN = tailscaled(new Set([formatNodeKey(question.key)]));
const TOKEN = '0123456789abcdef0123';
const { signal } = new AbortController();
const nothing = async () => '';

function temporary(): string {
  const path = mkdtempSync(join(tmpdir(), 'derpkit-mac-app-'));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

async function server(path?: string): Promise<TestVerifier> {
  const made = await TestVerifier.listen(KNOWN, path);
  onTestFinished(() => made.close());
  return made;
}

/** The files of the app that is not from the App Store. */
function write(directory: string, port: number, token: string): void {
  mkdirSync(directory, { recursive: true });
  rmSync(join(directory, 'ipnport'), { force: true });
  symlinkSync(String(port), join(directory, 'ipnport'));
  writeFileSync(join(directory, `sameuserproof-${port}`), `${token}\n`);
}

function basic(token: string): string {
  return `Basic ${Buffer.from(`:${token}`).toString('base64')}`;
}

describe('MacApp', () => {
  it('MacApp finds the app from the App Store among open files, and the other app by its own files', async () => {
    const directory = join(temporary(), 'Tailscale');
    write(directory, 41641, TOKEN);
    const line = '/Users/me/Library/Group Containers/W5.io.tailscale.ipn.macos/sameuserproof-';
    const printed = `p123\ncIPNExtension\nn/dev/null\nn${line}5555-${TOKEN.toUpperCase()}\nn/tmp/x\n`;
    expect(await new MacApp({ directory, openFiles: async () => printed }).find()).toEqual({
      port: 5555,
      token: TOKEN.toUpperCase(),
    });
    const failing = async () => Promise.reject(new Error('no lsof'));
    for (const openFiles of [nothing, failing, async () => `n${line}99999-x\n`]) {
      expect(await new MacApp({ directory, openFiles }).find()).toEqual({ port: 41641, token: TOKEN });
    }
  });

  it.each<[string, (directory: string) => void]>([
    ['there are no files', () => {}],
    ['the link names no port', (directory) => symlinkSync('nothing', join(directory, 'ipnport'))],
    ['the token is missing', (directory) => symlinkSync('41641', join(directory, 'ipnport'))],
    ['the token is empty', (directory) => write(directory, 41641, '')],
    ['the token is no part of a header', (directory) => write(directory, 41641, 'a\nb')],
  ])('MacApp finds no app if %s', async (_where, make) => {
    const directory = temporary();
    make(directory);
    expect(await new MacApp({ directory, openFiles: nothing }).find()).toBeUndefined();
  });
});

describe('the search for the app', () => {
  const line = (port: number | string, token: string) => `n/x.tailscale.ipn.macos/sameuserproof-${port}-${token}\n`;

  it.each<[string, unknown]>([
    [line(65_535, TOKEN), { port: 65_535, token: TOKEN }],
    [line(1, '!~'), { port: 1, token: '!~' }],
    [line(65_536, TOKEN), undefined],
    [line(0, TOKEN), undefined],
    [line('x', TOKEN), undefined],
    [line(5555, 'm\xe9'), undefined],
    [line(5555, '\xe9m'), undefined],
    [line(5555, `${TOKEN} more`), undefined],
    [line(5555, ''), undefined],
    ['n/xtailscale-ipn-macos/sameuserproof-5555-token\n', undefined],
  ])('an open file names the app only with a port and a token: %j', async (printed, app) => {
    expect(await new MacApp({ directory: temporary(), openFiles: async () => printed }).find()).toEqual(app);
  });

  it.each(['+41641', '1e3', '0x10', '123456'])('a link to %s names no port', async (port) => {
    const directory = temporary();
    symlinkSync(port, join(directory, 'ipnport'));
    writeFileSync(join(directory, `sameuserproof-${port}`), TOKEN);
    expect(await new MacApp({ directory, openFiles: nothing }).find()).toBeUndefined();
  });

  it('a machine without the app is searched again after five seconds, and one with it when the app is forgotten', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const openFiles = vi.fn(nothing);
    const app = new MacApp({ directory: temporary(), openFiles });
    vi.advanceTimersByTime(3000);
    for (const [milliseconds, searches] of [
      [0, 1],
      [0, 1],
      [5000, 1],
      [0, 1],
      // This question finds that the time is over, and the next one searches.
      [1, 1],
      [0, 2],
    ] as const) {
      vi.advanceTimersByTime(milliseconds);
      expect(await app.find()).toBeUndefined();
      expect(openFiles).toHaveBeenCalledTimes(searches);
    }
    vi.advanceTimersByTime(5001);
    await app.find();
    openFiles.mockResolvedValue(line(5555, TOKEN));
    for (let time = 0; time < 3; time++) {
      expect(await app.find()).toEqual({ port: 5555, token: TOKEN });
      vi.advanceTimersByTime(60_000);
    }
    expect(openFiles).toHaveBeenCalledTimes(3);
    app.forget();
    await app.find();
    expect(openFiles).toHaveBeenCalledTimes(4);
  });

  it('the open files are those that lsof prints of the app of this user', async () => {
    const directory = temporary();
    const program = join(directory, 'lsof');
    const printed = line(5555, TOKEN).trim();
    writeFileSync(program, `#!/bin/sh\necho : "$@" > ${directory}/arguments\necho '${printed}'\n`, { mode: 0o700 });
    vi.stubEnv('PATH', `${directory}:${process.env.PATH}`);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await new MacApp({ directory }).find()).toEqual({ port: 5555, token: TOKEN });
    const given = readFileSync(join(directory, 'arguments'), 'utf8');
    expect(given).toBe(`: -n -a -u${process.getuid?.()} -c IPNExtension -F\n`);
    writeFileSync(program, `#!/bin/sh\necho '${printed}'\nexit 1\n`);
    expect(await new MacApp({ directory }).find()).toBeUndefined();
    // One that does not end is killed.
    writeFileSync(program, '#!/bin/sh\nexec sleep 5\n');
    await expect(lsof(50)).rejects.toThrow();
  });
});

describe('a tailscaled of macOS', () => {
  it('on macOS, the app is asked with its token, also after a restart of the app', async () => {
    const directory = temporary();
    let app = await server();
    write(directory, app.port, TOKEN);
    const asked = new Tailscaled({
      socket: join(directory, 'none.sock'),
      app: new MacApp({ directory, openFiles: nothing }),
      uptime: () => 10_000,
    });
    expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    const [{ headers, target }] = app.asked as [(typeof app.asked)[0]];
    expect(headers).toMatchObject({
      host: 'local-tailscaled.sock',
      authorization: basic(TOKEN),
      'tailscale-cap': '148',
    });
    expect(target).toMatch(/^\/localapi\/v0\/whois\?addr=nodekey/);
    await app.close();
    app = await server();
    write(directory, app.port, 'another');
    // The port from before is found to be closed, and so is the socket.
    expect(await asked.ask(question, signal)).toMatchObject({ kind: 'failed', unreached: true });
    expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    expect(app.asked[0]?.headers.authorization).toBe(basic('another'));
    // The same port, and another token.
    app.say = reply('403 Forbidden', 'bad password', { 'Tailscale-Version': '1.104.5' });
    expect(await asked.ask(question, signal)).toMatchObject({ kind: 'failed' });
    write(directory, app.port, 'third');
    app.say = KNOWN;
    expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    expect(app.asked.at(-1)?.headers.authorization).toBe(basic('third'));
    asked.close();
  });

  it('on macOS, a tailscaled with a socket is asked without a token if the app does not run', async () => {
    const directory = temporary();
    const gone = await server();
    write(directory, gone.port, TOKEN);
    await gone.close();
    const socket = join(directory, 'tailscaled.sock');
    const other = await server(socket);
    const app = new MacApp({ directory, openFiles: nothing });
    const asked = new Tailscaled({ socket, app });
    expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    expect(other.asked[0]?.headers).not.toHaveProperty('authorization');
    asked.close();
  });

  it('on macOS, a tailscaled with a socket is asked where there is no app', async () => {
    const directory = temporary();
    const socket = join(directory, 'tailscaled.sock');
    await server(socket);
    const asked = new Tailscaled({ socket, app: new MacApp({ directory, openFiles: nothing }), uptime: () => 10_000 });
    expect(await asked.ask(question, signal)).toEqual({ kind: 'allowed' });
    asked.close();
  });
});

describe('the tailscaled of this machine', () => {
  it('the socket of tailscaled is where Go’s client looks', () => {
    expect(defaultSocket('win32')).toBe('\\\\.\\pipe\\ProtectedPrefix\\Administrators\\Tailscale\\tailscaled');
    expect(defaultSocket('darwin')).toBe('/var/run/tailscaled.socket');
    expect(defaultSocket('freebsd')).toBe('/var/run/tailscale/tailscaled.sock');
    expect(localTailscaled('win32').name).toBe(`tailscaled ${defaultSocket('win32')}`);
  });

  it.each<[string, string, string?]>([
    ['/var/packages/Tailscale/var/tailscaled.sock', 'usr/syno/x'],
    ['/var/packages/Tailscale/var/tailscaled.sock', 'usr/syno/x', 'majorversion="7"\nx_majorversion="6"\n'],
    ['/var/packages/Tailscale/etc/tailscaled.sock', 'usr/syno/x', 'x="y"\nmajorversion="6"\nminorversion="2"\n'],
    ['/tmp/tailscale/tailscaled.sock', 'etc/config/uLinux.conf'],
    ['/perm/tailscaled/tailscaled.sock', 'gokrazy/x'],
    ['/var/run/tailscale/tailscaled.sock', 'var/run/x'],
    ['tailscaled.sock', 'var/run'],
    ['tailscaled.sock', 'x'],
  ])('the socket of tailscaled is %s on a system with the file %s', (socket, file, version) => {
    const root = temporary();
    mkdirSync(dirname(join(root, file)), { recursive: true });
    writeFileSync(join(root, file), '');
    if (version !== undefined) {
      mkdirSync(join(root, 'etc.defaults'));
      writeFileSync(join(root, 'etc.defaults/VERSION'), version);
    }
    expect(defaultSocket('linux', root)).toBe(socket);
    const elsewhere = file === 'var/run/x' ? socket : 'tailscaled.sock';
    expect(defaultSocket('freebsd', root)).toBe(elsewhere);
  });

  it('the app is asked on macOS, and nowhere else', () => {
    expect(localTailscaled('darwin').asksApp).toBe(true);
    expect(localTailscaled('linux').asksApp).toBe(false);
  });
});
