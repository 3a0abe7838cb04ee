/** Which relay the commands ask that look at one, and by which name: `--url`, `--config` and `--name`. */
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { pemPair } from '../helpers/relay.js';
import { type Command, run, start, temporary } from './commands.js';
import { portOf } from './reach.js';
import { DEBUG_KEY, FAR } from './watched.js';

const NAME = 'derp.test';

/** Each command, with arguments that make it end by itself. */
const COMMANDS: readonly (readonly [string, ...string[]])[] = [
  ['health'],
  ['top', '--once', '--json'],
  ['fleet', '--json'],
];

interface Named {
  readonly relay: Command;
  readonly port: number;
  /** The file with the settings that the relay runs with, its port among them. */
  readonly settings: string;
  readonly keyFile: string;
  readonly certificate: string;
}

/** A relay that has a certificate for one name, and shows none to clients that name another or an address. */
async function named(): Promise<Named> {
  const directory = temporary();
  const pair = pemPair([NAME]);
  const write = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const certificate = write(`${NAME}.crt`, pair.chain);
  write(`${NAME}.key`, pair.key);
  const keyFile = write('debug.key', `${DEBUG_KEY}\n`);
  const fixed = [
    ...[`hostname: ${NAME}`, 'certMode: manual', `certDir: ${directory}`, `dataDir: ${directory}`],
    ...['stun: false', 'httpPort: -1', `debugKeyFile: ${keyFile}`],
  ];
  const settings = write('relay.yaml', [...fixed, 'listen: 0.0.0.0:0', ''].join('\n'));
  const relay = start('derpkit', ['serve', '--config', settings]);
  const port = await portOf(relay, 'DERP over TLS');
  write('relay.yaml', [...fixed, `listen: 0.0.0.0:${port}`, ''].join('\n'));
  return { relay, port, settings, keyFile, certificate };
}

const ask = (command: readonly string[], args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
  run('derpkit', [...command, ...args], { env });

describe('--name', () => {
  it('commands reach a relay by an address if --name says which name its certificate is for', async () => {
    const { port } = await named();
    const url = `https://127.0.0.1:${port}`;
    for (const command of COMMANDS) {
      const advice = /no certificate for clients that name an address; .* with --name <host>\n$/;
      expect(await ask(command, ['--url', url])).toMatchObject({ code: 1, stderr: expect.stringMatching(advice) });
      const other = await ask(command, ['--url', url, '--name', 'other.test']);
      expect(other).toMatchObject({ code: 1, stderr: expect.stringMatching(/no certificate for other\.test; /) });
      expect(await ask(command, ['--url', url, '--name', NAME])).toMatchObject({ code: 0, stderr: '' });
    }
    // A name may end with a dot; server names have none.
    expect(await ask(['fleet', url], ['--name', `${NAME}.`])).toMatchObject({ code: 0, stderr: '' });
    const tap = start('derpkit', ['tap', '--url', url, '--name', NAME]);
    await tap.printed(/^packets of /m);
    expect(await tap.stop('SIGINT')).toMatchObject({ code: 0 });
  });

  it.skipIf(!FAR)('from afar the certificate has to be for --name, or the one of --pin', async () => {
    const { port, keyFile, certificate } = await named();
    const url = `https://${FAR}:${port}`;
    const env = { NODE_EXTRA_CA_CERTS: certificate };
    expect(await ask(['health'], ['--url', url, '--name', NAME], env)).toMatchObject({ code: 0, stderr: '' });
    const unknown = await ask(['health'], ['--url', url, '--name', NAME]);
    expect(unknown).toMatchObject({ code: 1, stderr: expect.stringMatching(/certificate.*NODE_EXTRA_CA_CERTS\n$/) });

    const key = ['--url', url, '--debug-key-file', keyFile];
    expect(await ask(['fleet', '--json'], [...key, '--name', NAME], env)).toMatchObject({ code: 0, stderr: '' });
    const unproven = await ask(['fleet', '--json'], [...key, '--name', NAME]);
    expect(unproven).toMatchObject({ code: 1, stderr: expect.stringMatching(/certificate.*; --pin takes/) });
    const wrong = `sha256-raw:${'0'.repeat(64)}`;
    const refused = await ask(['fleet', '--json'], [...key, '--name', NAME, '--pin', wrong]);
    const [fingerprint = ''] = /sha256-raw:(?!0{64})[0-9a-f]{64}/.exec(refused.stderr) ?? [];
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('not the one of --pin') });
    expect(await ask(['fleet', '--json'], [...key, '--name', NAME, '--pin', fingerprint])).toMatchObject({
      ...{ code: 0, stderr: '' },
    });
    // Without --name the relay shows no certificate at all, whatever the pin is.
    expect((await ask(['fleet', '--json'], [...key, '--pin', fingerprint])).stderr).toMatch(/ with --name <host>\n$/);
  });

  it.skipIf(!FAR)('a certificate that is for another name than --name is refused from afar', async () => {
    const directory = temporary();
    const pair = pemPair([NAME, '192.0.2.7']);
    for (const [end, text] of Object.entries({ crt: pair.chain, key: pair.key }))
      writeFileSync(join(directory, `one.${end}`), text);
    const certificates = [
      { chainFile: join(directory, 'one.crt'), keyFile: join(directory, 'one.key'), default: true },
    ];
    const args = ['serve', '--data-dir', directory, '--listen=0.0.0.0:0', '--http-port=-1', '--no-stun'];
    const relay = start('derpkit', args, { env: { DERPKIT_CERTIFICATES: JSON.stringify(certificates) } });
    const url = `https://${FAR}:${await portOf(relay, 'DERP over TLS')}`;
    const env = { NODE_EXTRA_CA_CERTS: join(directory, 'one.crt') };
    for (const [command, advice] of [
      [['health'], /altnames.*; --name says which name the certificate is for\n$/],
      [['fleet'], /altnames.*; --name says which name it is for, and --pin takes /],
    ] as const) {
      for (const name of [[], ['--name', 'other.test'], ['--name', '192.0.2.1']]) {
        const { code, stderr } = await ask(command, ['--url', url, ...name], env);
        expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(advice) });
      }
    }
    for (const name of [NAME, '192.0.2.7']) {
      expect(await ask(['health'], ['--url', url, '--name', name], env)).toMatchObject({ code: 0, stderr: '' });
    }
  });

  it.each([
    [NAME, NAME, NAME],
    ['192.0.2.1', '192.0.2.1', false],
    ['2001:db8::1', '[2001:db8::1]', false],
  ])('requests name the host of --name, as TLS does: %s', async (name, host, servername) => {
    const { chain: cert, key } = pemPair(['any.test']);
    const asked: { head: string; servername: string | false | null }[] = [];
    const server = createServer({ cert, key }, (socket) => {
      socket.on('error', () => {});
      socket.once('data', (data) => {
        asked.push({ head: data.toString('latin1'), servername: socket.servername });
        socket.end();
      });
    });
    onTestFinished(() => void server.close());
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    for (const command of ['health', 'fleet']) {
      expect(await ask([command], ['--url', `https://127.0.0.1:${port}`, '--name', name])).toMatchObject({ code: 1 });
    }
    const heads = asked.map(({ head }) => /^host: (.*)\r$/im.exec(head)?.[1]);
    expect(heads).toEqual([`${host}:${port}`, `${host}:${port}`]);
    expect(asked.map((each) => each.servername)).toEqual([servername, servername]);
  });

  it('--name is refused where there is no certificate, or if it is no name', async () => {
    const plain = await ask(['health'], ['--url', 'http://127.0.0.1:1', '--name', NAME]);
    expect(plain).toMatchObject({ code: 1, stderr: 'derpkit health: http://127.0.0.1:1: --name is for https://\n' });
    const url = await ask(['top'], ['--name', 'https://derp.test']);
    expect(url).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: .*It must be a host name or an IP/) });
  });
});

describe('--config', () => {
  it('commands ask the relay of a settings file by the name in it', async () => {
    const { relay, settings } = await named();
    const env = { DERPKIT_CONFIG: '/nonexistent/relay.yaml' };
    for (const command of COMMANDS) {
      expect(await ask(command, ['--config', settings], env)).toMatchObject({ code: 0, stderr: '' });
      expect(await ask(command, [], { DERPKIT_CONFIG: settings })).toMatchObject({ code: 0, stderr: '' });
    }
    await relay.stop();
    const gone = await ask(['tap'], ['--config', settings]);
    const advice =
      /connection refused: nothing listens there; .*--config <file>, or variables such as DERPKIT_LISTEN\n$/;
    expect(gone).toMatchObject({ code: 1, stderr: expect.stringMatching(advice) });
  });

  it.each(['health', 'top', 'fleet', 'tap'])('%s says what is wrong with --config', async (command) => {
    const missing = await ask([command], ['--config', '/nonexistent/relay.yaml']);
    const message = 'derpkit: --config: no such file or directory: /nonexistent/relay.yaml\n';
    expect(missing).toMatchObject({ code: 1, stdout: '', stderr: message });
    const both = await ask([command], ['--config', 'relay.yaml', '--url', 'https://derp.test']);
    expect(both).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/'--config <file>' cannot be used with .*--url/),
    });
  });

  it('fleet refuses a URL beside --config', async () => {
    const { code, stderr } = await ask(['fleet', 'https://derp.test'], ['--config', 'relay.yaml']);
    expect({ code, stderr: stderr.split('\n', 1)[0] }).toEqual({
      code: 2,
      stderr: 'error: name the relay once: as [url] or by the settings of --config',
    });
  });
});
