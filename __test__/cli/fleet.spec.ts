/** `derpkit fleet` with one relay: what it prints, where, and how it ends. In regions: `__test__/interop/fleet-command.spec.ts`. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { FULL, REPORT } from '../unit/cli/fleet/report.js';
import { binPath, lines, run } from './commands.js';
import { bare, Terminal } from './terminal.js';
import { watched } from './watched.js';

const fleet = (...args: string[]) => run('derpkit', ['fleet', ...args]);

/** Something that answers every request so. */
async function answering(body: string, status = 200): Promise<string> {
  const server = createServer((_request, response) => response.writeHead(status).end(body));
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The command in a terminal of so many columns. */
function inTerminal(url: string, columns: number, env: Readonly<Record<string, string>> = {}): Terminal {
  const command = [process.execPath, binPath('derpkit'), 'fleet', url];
  return new Terminal(['bash', '-c', `stty cols ${columns}; exec "$@"`, 'bash', ...command], env);
}

describe.each(PLANE_KINDS)('derpkit fleet, on the %s plane', (plane) => {
  it('derpkit fleet shows a relay without others, and whether a client is there', async () => {
    const relay = await watched(plane, { tls: true });
    const client = await relay.connect();
    const { code, stdout, stderr } = await fleet('--url', relay.url, '--key', formatNodeKey(client.key));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const digits = formatNodeKey(client.key).slice('nodekey:'.length, 'nodekey:'.length + 16);
    expect(lines(stdout).slice(0, 4)).toEqual([
      'region    mode full, 0 other relays',
      'directory none: relays of a full mesh tell each other about their keys',
      `key       ${digits} is here`,
      '',
    ]);
    expect(stdout).toMatch(new RegExp(`^[0-9a-f]{16} localhost:${relay.port} \\S+ +\\d+s +1 +0 +\\d+$`, 'm'));

    const nowhere = formatNodeKey(generateKeyPair().publicKey);
    const json = await fleet(relay.url, '--json', '--key', nowhere);
    expect({ code: json.code, lines: lines(json.stdout).length }).toEqual({ code: 0, lines: 1 });
    expect(JSON.parse(json.stdout)).toMatchObject({
      ...{ mode: 'full', directory: null, relays: [], mesh: [] },
      key: { key: nowhere, here: false, elsewhere: null, trouble: '' },
    });
  });
});

describe('derpkit fleet in a terminal', () => {
  it.each([20, 60, 200])('derpkit fleet prints no line that is wider than %i columns', async (columns) => {
    for (const report of [REPORT, FULL]) {
      const terminal = inTerminal(await answering(JSON.stringify(report)), columns);
      expect(await terminal.end()).toMatchObject({ code: 0 });
      const shown = terminal.output.split('\r\n').map(bare);
      expect(shown.length).toBeGreaterThan(8);
      expect(shown.filter((line) => line.length > columns)).toEqual([]);
    }
  });

  it('derpkit fleet uses no colours with NO_COLOR, and neither in a dumb terminal', async () => {
    const url = await answering(JSON.stringify(REPORT));
    for (const [env, has] of [
      [{}, true],
      [{ NO_COLOR: '1' }, false],
      [{ TERM: 'dumb' }, false],
    ] as const) {
      const terminal = inTerminal(url, 100, env);
      expect(await terminal.end()).toMatchObject({ code: 0 });
      expect(terminal.output.includes('\x1b')).toBe(has);
    }
  });

  it('derpkit fleet prints no character of a relay that could move the cursor, in JSON either', async () => {
    const evil = '\u009b2J\u202e\x1b[2J';
    const url = await answering(JSON.stringify({ ...REPORT, region: evil }));
    const table = inTerminal(url, 100, { NO_COLOR: '1' });
    await table.end();
    expect(table.output.split('\r\n')[0]).toBe('region    ?2J??[2J, mode on-demand, 3 other relays');
    const { stdout } = await fleet(url, '--json');
    expect(stdout).toMatch(/^[\x20-\x7e]+\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ region: evil });
  });
});

describe('the end of derpkit fleet', () => {
  it.each([
    ['<html>', 200, 'the answer is no JSON'],
    ['{}', 200, 'the answer is no report about a fleet'],
    ['404 page not found', 404, 'it answers 404: 404 page not found'],
  ])('derpkit fleet says what is wrong with the answer %j with status %i', async (body, status, message) => {
    const url = await answering(body, status);
    const { code, stdout, stderr } = await fleet(url);
    expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: '', stderr: `derpkit fleet: ${url}: ${message}\n` });
  });

  it('derpkit fleet ends with 1 where no relay answers', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    expect(await fleet('--url', url)).toMatchObject({
      ...{ code: 1, stdout: '', stderr: `derpkit fleet: ${url}: connection refused\n` },
    });
  });

  it.each([
    [['--key', 'nodekey:12'], /^error: option '--key <nodekey>' argument 'nodekey:12' is invalid/],
    [['--url', 'http://a.test', 'http://b.test'], /^error: name the relay once: as \[url\] or --url\n/],
    [['http://a.test', 'http://b.test'], /^error: too many arguments/],
  ])('derpkit fleet refuses %j with 2', async (args, message) => {
    const { code, stderr } = await fleet(...args);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
  });
});
