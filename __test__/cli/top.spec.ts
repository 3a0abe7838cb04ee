/** `derpkit top`: what an operator sees of a relay in a terminal, and what a script does. */
import { describe, expect, it } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import type { DerpClient } from '../helpers/client.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { binPath, Command, lines, run, start } from './commands.js';
import { Terminal } from './terminal.js';
import { type Watched, watched } from './watched.js';

const short = ({ key }: DerpClient) => formatNodeKey(key).slice('nodekey:'.length, 'nodekey:'.length + 16);

/** Packets from one client to another, and some to nobody, until the test is over. */
async function traffic(relay: Watched): Promise<[DerpClient, DerpClient]> {
  const [a, b] = [await relay.connect({ appName: 'an app' }), await relay.connect()];
  const nobody = generateKeyPair().publicKey;
  b.onPacket = () => {};
  const timer = setInterval(() => {
    a.sendPacket(b.key, Buffer.alloc(1000));
    a.sendPacket(nobody, Buffer.alloc(10));
  }, 20);
  relay.onEnd(() => clearInterval(timer));
  return [a, b];
}

const topOf = ({ url }: Watched, ...args: string[]) => [
  process.execPath,
  binPath('derpkit'),
  'top',
  '--url',
  url,
  ...args,
];

describe.each(PLANE_KINDS)('derpkit top, on the %s plane', (plane) => {
  it('derpkit top --once --json prints the figures of the relay, with rates', async () => {
    const relay = await watched(plane, { tls: true });
    const [a, b] = await traffic(relay);
    const { code, stdout, stderr } = await run('derpkit', ['top', '--url', relay.url, '--once', '--json']);
    expect({ code, stderr, lines: lines(stdout).length }).toEqual({ code: 0, stderr: '', lines: 1 });
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ relay: relay.url, connections: 2, keys: 2, totals: { admitted: 2 } });
    expect(report.seconds).toBeGreaterThan(0.5);
    expect(report.totals.packetsIn).toBeGreaterThan(report.totals.packetsOut);
    for (const name of ['packetsIn', 'packetsOut', 'bytesIn', 'bytesOut'])
      expect(report.rates[name]).toBeGreaterThan(0);
    // A rate is a part of the total, in the seconds that it is of.
    expect(report.rates.packetsIn * report.seconds).toBeLessThanOrEqual(report.totals.packetsIn);
    expect(report.drops.unknown_dest.rate).toBeGreaterThan(0);
    expect(report.memory).toBeGreaterThan(1e7);
    const [busiest] = report.clients;
    expect(report.clients.map(({ key }: { key: string }) => key).sort()).toEqual(
      [a.key, b.key].map(formatNodeKey).sort(),
    );
    expect(busiest.rxRate + busiest.txRate).toBeGreaterThan(1000);

    const byBytes = await run('derpkit', ['top', '--url', relay.url, '--once', '--json', '--sort', 'tx']);
    expect(JSON.parse(byBytes.stdout).clients[0]).toMatchObject({ key: formatNodeKey(b.key), rxBytes: 0 });
  });

  it('derpkit top prints a frame for each interval where there is no terminal, as plain lines', async () => {
    const relay = await watched(plane);
    const [a] = await traffic(relay);
    const command = start('derpkit', ['top', '--url', relay.url]);
    await command.printed(/^relay [\s\S]*^relay [\s\S]*^relay /m);
    expect(command.stdout).toMatch(/^clients {3}2 connections of 2 keys, 0 at home$/m);
    expect(command.stdout).toMatch(/^dropped {3}unknown_dest [\d.]+\/s \(\d+\)$/m);
    expect(command.stdout).toMatch(new RegExp(`^${short(a)} .* 127\\.0\\.0\\.1 +an app$`, 'm'));
    await relay.command.stop();
    const { code, stderr } = await command.end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([expect.stringMatching(/^derpkit top: http:\S+: the relay has ended the feed$/)]);
  });

  it('derpkit top draws a screen, sorts by the key that is pressed, and gives the terminal back', async () => {
    const relay = await watched(plane);
    const [a, b] = await traffic(relay);
    const terminal = new Terminal(topOf(relay));
    await terminal.shows(/^packets +in [\d.]+k?\/s/);
    await terminal.shows(/^by rate; q: end, r: rate, /);
    terminal.type('f');
    await terminal.shows(/^by rate from it; /);
    const first = () => terminal.lines[terminal.lines.findIndex((line) => line.startsWith('NODE KEY')) + 1];
    expect(first()).toMatch(new RegExp(`^${short(a)}`));
    await terminal.afterwards(/by bytes to it; [\s\S]*by bytes to it; /, () => terminal.type('o'));
    expect(first()).toMatch(new RegExp(`^${short(b)}`));
    terminal.type('q');
    expect(await terminal.end()).toEqual({ code: 0, signal: null, echoes: true });
    // The screen of its own, and the cursor, come and go once.
    expect(terminal.modes).toEqual(['?1049h', '?25l', '?25h', '?1049l']);
    expect(terminal.output.split('\x1b[?1049l')[1]).toBe('');
  });
});

describe('derpkit top in a terminal', () => {
  it('derpkit top follows the size of the terminal, to one that is tiny', async () => {
    const relay = await watched('js');
    await traffic(relay);
    const terminal = new Terminal(topOf(relay));
    await terminal.shows(/^NODE KEY.*APP$/);
    for (const [rows, columns] of [
      [40, 200],
      [9, 20],
      [1, 1],
      [24, 80],
    ] as const) {
      await terminal.afterwards(/\[J/, () => terminal.resize(rows, columns));
      const drawn = terminal.lines;
      expect(drawn.length).toBeLessThanOrEqual(rows);
      expect(drawn.filter((line) => line.length > columns)).toEqual([]);
    }
    terminal.type('q');
    expect(await terminal.end()).toMatchObject({ code: 0 });
  });

  it('derpkit top draws at once when the terminal has another size', async () => {
    // No other frame comes.
    const terminal = new Terminal(topOf(await watched('js'), '--interval', '9999'));
    await terminal.shows(/waiting for figures$/);
    await terminal.afterwards(/\[J/, () => terminal.resize(5, 10));
    expect(terminal.lines).toEqual(['http://127']);
    terminal.type('q');
    expect(await terminal.end()).toMatchObject({ code: 0 });
  });

  it('a fault of derpkit top gives the terminal back before it is reported', async () => {
    const fault = 'process.on("SIGUSR2", () => { throw new Error("planted") })';
    const env = { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(fault)}` };
    const terminal = new Terminal(topOf(await watched('js')), env);
    await terminal.shows(/^NODE KEY/);
    terminal.signal('SIGUSR2');
    expect(await terminal.end()).toEqual({ code: 1, signal: null, echoes: true });
    expect(terminal.output).toMatch(/\[\?1049l[\s\S]*Error: planted/);
  });

  it.each([
    ['SIGTERM', 15],
    ['SIGHUP', 1],
    ['SIGINT', 2],
  ] as const)('%s ends derpkit top and gives the terminal back', async (name, signal) => {
    const relay = await watched('js');
    const terminal = new Terminal(topOf(relay));
    await terminal.shows(/^NODE KEY/);
    terminal.signal(name);
    expect(await terminal.end()).toEqual({ code: null, signal, echoes: true });
    expect(terminal.modes).toEqual(['?1049h', '?25l', '?25h', '?1049l']);
  });

  it('Ctrl-C ends derpkit top as it ends other programs', async () => {
    const terminal = new Terminal(topOf(await watched('js')));
    await terminal.shows(/^NODE KEY/);
    terminal.type('\x03');
    expect(await terminal.end()).toEqual({ code: null, signal: 2, echoes: true });
    expect(terminal.modes.at(-1)).toBe('?1049l');
  });

  it('Ctrl-Z gives the terminal back, and derpkit top goes on where no shell could wake it', async () => {
    const relay = await watched('js');
    const terminal = new Terminal(topOf(relay));
    await terminal.shows(/^NODE KEY/);
    await terminal.afterwards(/\[\?1049l[\s\S]*\[\?1049h[\s\S]*NODE KEY/, () => terminal.type('\x1a'));
    terminal.type('q');
    expect(await terminal.end()).toEqual({ code: 0, signal: null, echoes: true });
  });

  it('derpkit top says when its relay is gone, and shows it again when it is back', async () => {
    const relay = await watched('js');
    const terminal = new Terminal(topOf(relay));
    await terminal.shows(/^NODE KEY/);
    await relay.command.stop();
    await terminal.shows(/^no connection to the relay: connection refused; trying again/);
    await watched('js', { port: relay.port });
    await terminal.afterwards(/\[Hrelay|\[H.{0,8}relay/, () => {});
    terminal.type('q');
    expect(await terminal.end()).toEqual({ code: 0, signal: null, echoes: true });
  });

  it('derpkit top uses no colours with NO_COLOR', async () => {
    const relay = await watched('js');
    await traffic(relay);
    for (const [env, has] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
    ] as const) {
      const terminal = new Terminal(topOf(relay), env);
      await terminal.shows(/^dropped +unknown_dest/);
      expect(/\[\d+(?:;\d+)*m/.test(terminal.output)).toBe(has);
      terminal.type('q');
      await terminal.end();
    }
  });

  it.each([
    ['a dumb terminal', [], { TERM: 'dumb' }],
    ['--once', ['--once'], {}],
  ] as const)('derpkit top prints lines with %s, and codes of no kind', async (_, args, env) => {
    const terminal = new Terminal(topOf(await watched('js'), ...args), env);
    await terminal.afterwards(/^NODE KEY/m, () => {});
    if (args.length === 0) terminal.signal('SIGTERM');
    await terminal.end();
    expect(terminal.output).not.toContain('\x1b');
  });

  it('derpkit top leaves the terminal as it is where no relay answers', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const terminal = new Terminal([process.execPath, binPath('derpkit'), 'top', '--url', url]);
    expect(await terminal.end()).toEqual({ code: 1, signal: null, echoes: true });
    expect(terminal.output).toBe(`derpkit top: ${url}: connection refused\r\n`);
  });
});

describe('the end of derpkit top without a terminal', () => {
  it('derpkit top ends without a message when the reader of its output leaves', async () => {
    const relay = await watched('js');
    const args = topOf(relay, '--json');
    const command = new Command(['bash', '-o', 'pipefail', '-c', '"$@" | head -n 1; echo $?', 'bash', ...args]);
    const { stdout, stderr } = await command.end();
    const [line = '', code] = lines(stdout);
    expect(JSON.parse(line)).toMatchObject({ relay: relay.url });
    expect({ code, stderr }).toEqual({ code: '0', stderr: '' });
  });

  it.each([
    ['--interval', '0'],
    ['--sort', 'colour'],
  ])('derpkit top refuses %s %s', async (option, value) => {
    const { code, stderr } = await run('derpkit', ['top', option, value]);
    expect(code).toBe(2);
    expect(stderr).toMatch(new RegExp(`^error: option '${option} <\\w+>' argument '${value}' is invalid`));
  });
});
