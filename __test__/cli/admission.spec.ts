/** Admission to a relay, as operators set it up: files, printed lines, and secrets that are not printed. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { formatNodeKey, generateKeyPair, type KeyPair } from '../../src/protocol/key.js';
import { LANES } from '../helpers/lanes.js';
import { reply, TestVerifier } from '../helpers/verifier.js';
import { lines, run, start, temporary } from './commands.js';
import { get, keyOf, logIn, portOf } from './reach.js';

const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];

function write(path: string, ...keys: readonly KeyPair[]): void {
  writeFileSync(`${path}.new`, keys.map(({ publicKey }) => `${formatNodeKey(publicKey)}\n`).join(''));
  renameSync(`${path}.new`, path);
}

/** The command line of a relay on plain HTTP with this admission. */
function serve(directory: string, admission: object, listen = '127.0.0.1:0'): string[] {
  const config = join(directory, 'relay.json');
  const plain = { listen, certMode: 'off', stun: false, dataDir: join(directory, 'data') };
  writeFileSync(config, JSON.stringify({ ...plain, admission }));
  return ['serve', '--config', config];
}

describe.each(PLANES)('derpkit serve, on the %s plane', (plane) => {
  it('a relay closes a client whose key leaves the list, and logs the reason', async () => {
    const directory = temporary();
    const list = join(directory, 'allow.txt');
    const [stays, goes] = [generateKeyPair(), generateKeyPair()];
    write(list, stays, goes);
    const relay = start('derpkit', serve(directory, { verifiers: [{ keys: list }] }), {
      env: { DERPKIT_PLANE: plane },
    });
    const port = await portOf(relay, 'DERP over plain HTTP');
    const nodeKey = await keyOf(relay);
    const [staying, going] = [
      await logIn(port, nodeKey, undefined, { keys: stays }),
      await logIn(port, nodeKey, undefined, { keys: goes }),
    ];
    write(list, stays);
    await going.closed();
    await relay.printed(/a list of keys has changed file=\S+ keys=1$/m);
    await relay.printed(
      new RegExp(`client is not allowed any more key=${formatNodeKey(goes.publicKey)} addr=127.0.0.1:\\d+ verifier=`),
    );
    await expect(logIn(port, nodeKey, undefined, { keys: goes })).rejects.toThrow();
    await relay.printed(/client refused key=\S+ addr=127\.0\.0\.1:\d+ verifier="keys \S+" reason="not in the list"$/m);
    expect(await staying.fence()).toEqual([]);
    writeFileSync(list, 'nonsense\n');
    await relay.printed(
      /warn: a list of keys cannot be used, and its last contents stay in force file=\S+ reason="line 1 is not a node key/,
    );
    expect(await staying.fence()).toEqual([]);
    await relay.stop();
  });
});

describe('secrets of verifiers', () => {
  it('secrets of verifiers appear nowhere', async () => {
    const verifier = await TestVerifier.listen(reply('500 Internal Server Error'));
    onTestFinished(() => verifier.close());
    const directory = temporary();
    const headersFile = join(directory, 'headers');
    writeFileSync(headersFile, 'X-File: secret-in-file\n');
    const url = verifier.url
      .replace('http://', 'http://user:secret-password@')
      .replace('/verify', '/verify?k=secret-query');
    const admission = { verifiers: [{ url, headers: { authorization: 'Bearer secret-header' }, headersFile }] };
    const relay = start('derpkit', serve(directory, admission), { env: { DERPKIT_LOG_LEVEL: 'trace' } });
    const port = await portOf(relay, 'DERP over plain HTTP');
    await expect(logIn(port, await keyOf(relay))).rejects.toThrow();
    expect(verifier.asked[0]?.headers).toMatchObject({
      authorization: 'Bearer secret-header',
      'x-file': 'secret-in-file',
    });
    expect(verifier.asked[0]?.target).toContain('secret-query');
    await relay.printed(/warn: a verifier fails verifier=http:\/\/127\.0\.0\.1:\d+ reason="500 Internal Server Error"/);
    writeFileSync(headersFile, 'secret-in-file\n');
    relay.signal('SIGHUP');
    await relay.printed(/error: a file cannot be used/);
    const pages = await Promise.all(
      ['/debug/', '/debug/varz', '/debug/vars'].map(async (path) => (await get(port, path)).text()),
    );
    expect(pages[0]).toMatch(/Admission by http:\/\/127\.0\.0\.1:\d+:<\/b> fails; last error \S+: 500 Internal/);
    expect(pages[1]).toMatch(
      /^derpkit_admission_decisions_total\{verifier="http:\/\/127\.0\.0\.1:\d+",outcome="error"\} 1$/m,
    );
    const { stdout, stderr } = await relay.stop();
    expect([...pages, stdout, stderr].join('\n')).not.toContain('secret');
  });
});

describe('unusable verifiers', () => {
  it.each([
    ['a missing list', (path: string) => [{ keys: path }], 'keys', 'no such file or directory'],
    ['a malformed list', (_path: string, bad: string) => [{ keys: bad }], 'keys', 'line 1 is not a node key'],
    [
      'missing headers',
      (path: string) => [{ url: 'http://127.0.0.1/', headersFile: path }],
      'headersFile',
      'no such file or directory',
    ],
  ])('a verifier with %s ends the start', async (_name, verifiers, part, message) => {
    const directory = temporary();
    const bad = join(directory, 'bad.txt');
    writeFileSync(bad, 'nonsense\n');
    const { code, stderr } = await run(
      'derpkit',
      serve(directory, { verifiers: verifiers(join(directory, 'x'), bad) }),
    );
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr).toContain(`derpkit: relay.json: admission.verifiers.0.${part}: ${directory}`);
    expect(stderr).toContain(message);
  });

  it('-verify-client-url refuses another protocol', async () => {
    const args = ['-c', join(temporary(), 'key'), '-a', '127.0.0.1:0', '-stun=false', '-verify-client-url=ftp://x'];
    const { code, stderr } = await run('derper', args);
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual(['derper: -verify-client-url: must be an http:// or https:// URL']);
  });
});

describe('a relay without admission', () => {
  it('a variable that names no setting is named in a warning, and other variables are not', async () => {
    const env = { DERPKIT_ADMISSION_VERIFIER: '[]', DERPKIT_LOG_LEVEL: 'info', DERPKIT_SEED: '1' };
    const relay = start('derpkit', serve(temporary(), {}, '127.0.0.1:0'), { env });
    await relay.printed(/serving DERP/);
    const { stderr } = await relay.stop();
    expect(lines(stderr).filter((line) => line.includes('names no setting'))).toEqual([
      expect.stringMatching(
        /warn: the variable DERPKIT_ADMISSION_VERIFIER names no setting, and is ignored; did you mean DERPKIT_ADMISSION_VERIFIERS\?$/,
      ),
    ]);
  });

  const WARNING = /warn: every client that can reach this relay may use it; (\S+.*) restricts that$/m;

  it.each([
    [
      'derpkit',
      (directory: string) => serve(directory, {}, '0.0.0.0:0'),
      'DERPKIT_ADMISSION_VERIFIERS (in a settings file, admission.verifiers)',
    ],
    [
      'derper',
      (directory: string) => ['-c', join(directory, 'key'), '-a', '0.0.0.0:0', '-stun=false'],
      '-verify-clients or -verify-client-url',
    ],
  ] as const)(
    'a relay that admits every client warns once, and names the setting: %s',
    async (command, args, setting) => {
      const relay = start(command, args(temporary()));
      await relay.printed(/serving DERP/);
      const { stderr } = await relay.stop();
      expect(lines(stderr).filter((line) => WARNING.test(line))).toHaveLength(1);
      expect(WARNING.exec(stderr)?.[1]).toBe(setting);
    },
  );

  it('a relay logs no such warning if no other machine reaches it, or verifiers decide', async () => {
    const directory = temporary();
    const list = join(directory, 'allow.txt');
    write(list);
    for (const args of [serve(temporary(), {}), serve(directory, { verifiers: [{ keys: list }] }, '0.0.0.0:0')]) {
      const relay = start('derpkit', args);
      await relay.printed(/serving DERP/);
      expect((await relay.stop()).stderr).not.toMatch(WARNING);
    }
  });
});

describe('derper -verify-clients', () => {
  it('derper without its tailscaled admits no client, and says what is missing', async () => {
    const directory = temporary();
    const socket = join(directory, 'tailscaled.sock');
    const args = [
      '-c',
      join(directory, 'key'),
      '-a',
      '127.0.0.1:0',
      '-stun=false',
      '-verify-clients',
      '-socket',
      socket,
    ];
    const relay = start('derper', args);
    const port = await portOf(relay, 'DERP over plain HTTP');
    await expect(logIn(port, await keyOf(relay))).rejects.toThrow();
    await relay.printed(/a verifier fails verifier="tailscaled \S+" reason="[^"]*there is no such socket; /);
    const check = await get(port, '/debug/check');
    expect(check.status).toBe(500);
    expect(await check.text()).toContain('there is no such socket');
    await relay.stop();
  });
});
