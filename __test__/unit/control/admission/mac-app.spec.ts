/** Tailscale's app for macOS, found by its files, which the test makes in a directory of its own. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { defaultSocket, localTailscaled } from '../../../../src/control/admission/local-tailscaled.js';
import { MacApp } from '../../../../src/control/admission/mac-app.js';
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
});

describe('the tailscaled of this machine', () => {
  it('the socket of tailscaled is where Go’s client looks', () => {
    expect(defaultSocket('win32')).toBe('\\\\.\\pipe\\ProtectedPrefix\\Administrators\\Tailscale\\tailscaled');
    expect(defaultSocket('darwin')).toBe('/var/run/tailscaled.socket');
    expect(defaultSocket('freebsd')).toBe('/var/run/tailscale/tailscaled.sock');
    expect(localTailscaled('win32').name).toBe(`tailscaled ${defaultSocket('win32')}`);
  });

  it('the app is asked on macOS, and nowhere else', () => {
    expect(localTailscaled('darwin').asksApp).toBe(true);
    expect(localTailscaled('linux').asksApp).toBe(false);
  });
});
