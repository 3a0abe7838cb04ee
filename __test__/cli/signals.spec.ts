/** Signals that end a relay, and signals that do not, from the first moments of the relay to its end. */

import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { type Bin, binPath, Command, ROOT, start, temporary } from './commands.js';
import { Pipe } from './pipe.js';
import { get, keyOf, logIn, portOf } from './reach.js';
import { stall } from './stalled.js';

/** The commands that run a relay, with ports and files of the test's. */
const COMMANDS: readonly [name: string, bin: Bin, args: (directory: string) => string[]][] = [
  ['derper', 'derper', (directory) => ['-a', '127.0.0.1:0', '-stun=false', '-c', join(directory, 'derper.key')]],
  [
    'derpkit serve',
    'derpkit',
    (directory) => ['serve', '--listen', '127.0.0.1:0', '--cert-mode', 'off', '--no-stun', '--data-dir', directory],
  ],
  [
    'derpkit start',
    'derpkit',
    (directory) => ['start', '--port', '0', '--http-port', '-1', '--stun-port', '0', '--data-dir', directory],
  ],
];
const RUNS = /serving DERP over|is running/;
const IGNORED = /warn: SIGHUP is ignored: no setting names a file that could be read again\n/;
const ON = /debug: debug logging is on\n/;

const NAMESPACE = ['unshare', '--pid', '--fork', '--mount-proc', '--kill-child'] as const;
/** Whether this system can make a process number 1 of what it starts. */
const HAS_NAMESPACES = spawnSync(NAMESPACE[0], [...NAMESPACE.slice(1), 'true']).status === 0;

function childOf({ pid }: Command): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
}

function isOpen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });
}

describe.each(COMMANDS)('%s, while its modules load', (_, bin, args) => {
  it.each(PLANE_KINDS)(
    'a relay that starts takes SIGHUP, SIGUSR1 and SIGUSR2, and goes on to run, on the plane %s',
    async (plane) => {
      const debugPort = await freePort();
      const { env, reached, release } = stall(bin, `--inspect-port=${debugPort}`);
      const relay = start(bin, args(temporary()), { env: { ...env, DERPKIT_PLANE: plane } });
      await reached();
      for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGHUP'] as const) expect(relay.signal(signal)).toBe(true);
      release();
      await relay.printed(RUNS);
      await relay.printed(ON);
      await relay.printed(IGNORED);
      expect(await isOpen(debugPort)).toBe(false);
      const { code, stderr } = await relay.stop();
      expect(code).toBe(0);
      expect(stderr.match(/Debugger|SIGHUP is ignored/g)).toEqual(['SIGHUP is ignored']);
    },
  );

  it('SIGTERM ends a relay that starts, without a message', async () => {
    const { env, reached } = stall(bin);
    const relay = start(bin, args(temporary()), { env });
    await reached();
    expect(await relay.stop()).toEqual({ code: null, signal: 'SIGTERM', stdout: '', stderr: '' });
  });

  it.runIf(HAS_NAMESPACES)('SIGTERM ends a relay that starts as process 1, with status 0', async () => {
    const { env, reached } = stall(bin);
    const relay = new Command([...NAMESPACE, process.execPath, binPath(bin), ...args(temporary())], { env });
    await reached();
    process.kill(childOf(relay), 'SIGTERM');
    expect(await relay.end()).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
  });
});

describe.each(PLANE_KINDS)('a relay that waits for a file of its settings, on the plane %s', (plane) => {
  function startWith(file: Pipe): Command {
    const args = ['-a', '127.0.0.1:0', '-stun=false', '-c', join(temporary(), 'derper.key'), '-rate-config', file.path];
    return start('derper', args, { env: { DERPKIT_PLANE: plane } });
  }

  it('SIGTERM ends a relay that waits for a file', async () => {
    const file = new Pipe(join(temporary(), 'rate.json'));
    const relay = startWith(file);
    await file.isRead();
    expect(await relay.stop()).toEqual({ code: null, signal: 'SIGTERM', stdout: '', stderr: '' });
  });

  it('a relay that waits for a file goes on after SIGHUP, and reads the file again after its start', async () => {
    const file = new Pipe(join(temporary(), 'rate.json'));
    const relay = startWith(file);
    await file.isRead();
    relay.signal('SIGHUP');
    file.write('{}');
    await relay.printed(RUNS);
    await file.isRead();
    file.write('{}');
    await relay.printed(/the relay has read its files again/);
    expect((await relay.stop()).code).toBe(0);
  });
});

describe('derpkit serve, reading its settings', () => {
  it('a relay that reads its settings goes on after SIGHUP', async () => {
    const file = new Pipe(join(temporary(), 'relay.yaml'));
    const relay = start('derpkit', ['serve', '--config', file.path, '--data-dir', temporary()]);
    await file.isRead();
    relay.signal('SIGHUP');
    const settings = 'listen: 127.0.0.1:0\ncertMode: off\nstun: false\n';
    file.write(settings);
    await relay.printed(RUNS);
    await file.isRead();
    file.write(settings);
    await relay.printed(/the relay has read its files again/);
    // A reload that waits for a file does not delay the end.
    relay.signal('SIGHUP');
    await file.isRead();
    expect(await relay.stop()).toMatchObject({ code: null, signal: 'SIGTERM' });
  });

  it('SIGTERM ends a relay that reads its settings', async () => {
    const file = new Pipe(join(temporary(), 'relay.yaml'));
    const relay = start('derpkit', ['serve', '--config', file.path]);
    await file.isRead();
    expect(await relay.stop()).toEqual({ code: null, signal: 'SIGTERM', stdout: '', stderr: '' });
  });
});

describe.each(PLANE_KINDS)('a running relay, on the plane %s', (plane) => {
  const env = { DERPKIT_PLANE: plane };

  it.each(COMMANDS)('a relay without files to read ignores SIGHUP, and says so once: %s', async (_, bin, args) => {
    const relay = start(bin, args(temporary()), { env });
    await relay.printed(RUNS);
    relay.signal('SIGHUP');
    await relay.printed(IGNORED);
    relay.signal('SIGHUP');
    // Signals of one kind that wait are one; the next kind comes after this one.
    relay.signal('SIGUSR1');
    await relay.printed(ON);
    const { code, stderr } = await relay.stop();
    expect({ code, said: stderr.match(/SIGHUP/g) }).toEqual({ code: 0, said: ['SIGHUP'] });
  });

  it.each(COMMANDS)('a relay under nohup goes on after SIGHUP: %s', async (_, bin, args) => {
    const relay = new Command(['nohup', process.execPath, binPath(bin), ...args(temporary())], { env });
    await relay.printed(RUNS);
    relay.signal('SIGHUP');
    await relay.printed(IGNORED);
    expect((await relay.stop()).code).toBe(0);
  });

  it('SIGTERM ends a relay with status 0, however many signals follow', async () => {
    const [, bin, args] = COMMANDS[0] as (typeof COMMANDS)[number];
    const relay = start(bin, args(temporary()), { env });
    await relay.printed(RUNS);
    const signals = setInterval(() => {
      for (const signal of ['SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) relay.signal(signal);
    }, 1);
    onTestFinished(() => clearInterval(signals));
    await relay.printed(IGNORED);
    relay.signal('SIGTERM');
    relay.signal('SIGTERM');
    relay.signal('SIGINT');
    expect(await relay.end()).toMatchObject({ code: 0, signal: null });
  });

  it('SIGUSR1 turns debug logging on, and off again, and opens no debugger', async () => {
    const debugPort = await freePort();
    const [, bin, args] = COMMANDS[0] as (typeof COMMANDS)[number];
    const relay = start(bin, args(temporary()), { env: { ...env, NODE_OPTIONS: `--inspect-port=${debugPort}` } });
    const [port, nodeKey] = [await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay)];
    await logIn(port, nodeKey);
    relay.signal('SIGUSR1');
    await relay.printed(ON);
    await logIn(port, nodeKey);
    await relay.printed(/debug: client connected/);
    relay.signal('SIGUSR1');
    await relay.printed(/^\S+ \S+ debug logging is off: the level is info$/m);
    expect(await isOpen(debugPort)).toBe(false);
    const { code, stderr } = await relay.stop();
    expect({ code, connected: stderr.match(/client connected/g)?.length }).toEqual({ code: 0, connected: 1 });
    expect(stderr).not.toContain('client disconnected');
  });

  it('a relay closes a debugger that SIGUSR1 opened during Node’s start, and keeps a requested one', async () => {
    const directory = temporary();
    const opening = join(directory, 'opening.mjs');
    writeFileSync(
      opening,
      `import { url } from 'node:inspector';
process.kill(process.pid, 'SIGUSR1');
while (!url()) await new Promise((resolve) => setTimeout(resolve, 5));
`,
    );
    const [, bin, args] = COMMANDS[0] as (typeof COMMANDS)[number];
    const [opened, asked] = [await freePort(), await freePort()];
    for (const [port, options] of [
      [opened, `--inspect-port=${opened} --import=${pathToFileURL(opening).href}`],
      [asked, `--inspect=${asked}`],
    ] as const) {
      const relay = start(bin, args(temporary()), { env: { ...env, NODE_OPTIONS: options } });
      await relay.printed(RUNS);
      await relay.printed(/Debugger listening/);
      expect(await isOpen(port), options).toBe(port === asked);
      await relay.stop();
    }
  });

  it('a relay ignores SIGUSR2', async () => {
    const [, bin, args] = COMMANDS[0] as (typeof COMMANDS)[number];
    const relay = start(bin, args(temporary()), { env });
    const port = await portOf(relay, 'DERP over plain HTTP');
    relay.signal('SIGUSR2');
    relay.signal('SIGUSR1');
    await relay.printed(ON);
    expect((await get(port, '/derp/probe')).status).toBe(200);
    expect((await relay.stop()).code).toBe(0);
  });
});

/** Runs a program that has the package's own modules. */
function script(text: string): Command {
  const path = join(temporary(), 'program.mjs');
  const module = (name: string) => JSON.stringify(pathToFileURL(join(ROOT, 'dist', name)).href);
  writeFileSync(
    path,
    text.replaceAll(/'dist\/([^']*)'/g, (_, name) => module(name)),
  );
  return new Command([process.execPath, path]);
}

describe('a relay whose close hangs', () => {
  it('a second SIGTERM ends a hanging close with status 1, unless it follows within a second', async () => {
    const relay = script(`
      import { createRelay } from 'dist/index.js';
      import { runRelay } from 'dist/cli/run-relay.js';
      import { catchSignals } from 'dist/cli/signals.js';
      catchSignals();
      const relay = createRelay({ listen: '127.0.0.1:0', certMode: 'off', stun: false, privateKey: 'privkey:${'07'.repeat(32)}' });
      relay.close = () => new Promise(() => setInterval(() => {}, 1000));
      await runRelay(relay, () => console.log('is running'), undefined);
    `);
    await relay.printed(RUNS);
    relay.signal('SIGTERM');
    await relay.printed(/stopping reason=SIGTERM/);
    relay.signal('SIGTERM');
    relay.signal('SIGHUP');
    // Of signals that wait together the system hands SIGUSR1 over first; a second one comes after all of them.
    relay.signal('SIGUSR1');
    await relay.printed(ON);
    relay.signal('SIGUSR1');
    await relay.printed(/debug logging is off/);
    // The clock that the relay looks at decides which signal is the second one.
    const repeated = setInterval(() => relay.signal('SIGTERM'), 100);
    onTestFinished(() => clearInterval(repeated));
    expect(await relay.end()).toMatchObject({ code: 1, signal: null });
  });
});

it('a program that embeds a relay keeps its signals', async () => {
  const program = script(`
    import { createRelay } from 'dist/index.js';
    const relay = createRelay({ listen: '127.0.0.1:0', certMode: 'off', stun: false, privateKey: 'privkey:${'07'.repeat(32)}' });
    await relay.start();
    const signals = ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'];
    console.log('is running', signals.map((signal) => process.listenerCount(signal)).join());
  `);
  await program.printed(/is running 0,0,0,0,0/);
  expect(await program.stop('SIGHUP')).toMatchObject({ code: null, signal: 'SIGHUP' });
});
