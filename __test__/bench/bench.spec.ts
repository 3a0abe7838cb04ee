/** The whole instrument, once and briefly: its records must be right, whatever the speed. */

import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildPeers, whyNoGo } from '../../packaging/peers.mjs';
import { freePort } from '../../src/bench/ports.js';
import { reachable } from '../../src/bench/processes.js';
import { readRecord } from '../../src/bench/record.js';
import { matching, profileOf, type Scenario } from '../../src/bench/scenarios.js';
import { Command, ROOT, temporary } from '../cli/commands.js';
import { eventually } from '../helpers/wait.js';

const PROGRAM = join(ROOT, 'dist/cli/derpkit.js');
const GENERATOR = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'debug/derp-bench');
const TINY = profileOf('tiny');
let derper: string | undefined;

beforeAll(async () => {
  const { status, stderr } = spawnSync('cargo', ['build', '--locked', '--package', 'derp-bench'], { cwd: ROOT });
  expect(status, stderr.toString()).toBe(0);
  derper = whyNoGo() ? undefined : (await buildPeers()).derper;
}, 600_000);

function bench(out: string, ...args: string[]): Command {
  const line = [PROGRAM, 'bench', ...(derper ? ['--derper', derper] : []), '--generator', GENERATOR, '--out', out];
  return new Command([process.execPath, ...line, ...args], { patience: 300_000 });
}

function recordIn(out: string): string {
  const folder = join(out, 'record');
  const [name] = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')) : [];
  return name === undefined ? '' : join(folder, name);
}

/** Processes that this one has started, and those that these have. */
function offspring(of: number): number[] {
  const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  const children = all.filter((id) => {
    try {
      return Number(/\) \S (\d+)/.exec(readFileSync(`/proc/${id}/stat`, 'latin1'))?.[1]) === of;
    } catch {
      return false;
    }
  });
  return children.map(Number).flatMap((id) => [id, ...offspring(id)]);
}

/** Expects that every row was measured for every contender that can run it, without a failure. */
function expectWhole(path: string, names: readonly string[], rows: readonly Scenario[]): void {
  const record = readRecord(path);
  expect(record.complete).toBe(true);
  expect(record.contenders.map(({ name }) => name)).toEqual(names);
  expect(record.runs.filter(({ report }) => report?.ok !== true)).toEqual([]);
  for (const { id, family } of rows) {
    const measured = record.runs.filter(({ scenario }) => scenario === id).map(({ contender }) => contender);
    const floor = ['relay', 'fan-in', 'fan-out', 'stun', 'mesh'].includes(family);
    const expected = names.filter((name) => name !== 'floor' || floor);
    expect(measured).toEqual(family === 'workers' ? ['native, 1 worker', 'native, 2 workers'] : expected);
  }
  // Every relay that speaks TLS reports its cipher; the floor seals as many bytes without its protocol.
  const tls = record.runs.filter(({ scenario, contender }) => scenario.endsWith('/tls') && contender !== 'floor');
  expect(tls.filter(({ report }) => !report?.cipher?.startsWith('TLS13_'))).toEqual([]);
  expect(record.machine.node).toBe(process.versions.node);
  // The record has no path of this machine.
  expect(readFileSync(path, 'utf8')).not.toContain(ROOT);
}

it('derpkit bench measures every row, and writes a record', async () => {
  const out = temporary();
  const { code, stdout, stderr } = await bench(out, '--tiny', '--contenders', 'native').end();
  expect(code, stderr).toBe(0);
  expectWhole(recordIn(out), ['native'], TINY.scenarios);
  for (const { title } of TINY.scenarios) expect(stdout).toContain(title);
});

it('derpkit bench measures all contenders, and draws a picture', async () => {
  const out = temporary();
  const names = ['native', 'js', ...(derper ? ['derper'] : []), 'floor'];
  const words = ['relay', 'storm/tls', 'stun', 'mesh'];
  const run = await bench(out, '--tiny', '--contenders', names.join(','), '--scenario', ...words).end();
  expect(run.code, run.stderr).toBe(0);
  expectWhole(recordIn(out), names, matching(TINY.scenarios, words));
  const baseline = derper ? 'derper' : 'floor';
  const drawn = readFileSync(recordIn(out).replace('.json', '.svg'), 'utf8');
  expect(drawn).toContain(`How many times better than ${baseline}`);
  const again = await bench(out, '--picture', recordIn(out)).end();
  expect(again.code, again.stderr).toBe(0);
  expect(again.stdout).toMatch(/^\| \| \| native \| js \|/);
  expect(readFileSync(join(out, 'picture.svg'), 'utf8')).toContain(`How many times better than ${baseline}`);
});

describe.skipIf(process.platform !== 'linux')('interrupted runs', () => {
  it('an interrupted run writes its record, leaves nothing running, and can be resumed', async () => {
    const out = temporary();
    const names = ['--tiny', '--contenders', 'js', '--scenario', 'relay', '--rounds', '2'];
    const running = bench(out, ...names);
    await eventually(() => recordIn(out) !== '', 'the first run');
    const { pid } = running;
    const children = await eventually(() => {
      const found = offspring(pid);
      return found.length > 0 ? found : undefined;
    }, 'the next one');
    const { code, stderr } = await running.stop('SIGINT');
    expect(code, stderr).toBe(130);
    expect(stderr).toContain('--resume');
    expect(children.filter((id) => existsSync(`/proc/${id}`))).toEqual([]);
    const path = recordIn(out);
    const { runs, complete } = readRecord(path);
    expect(complete).toBe(false);
    expect(runs.length).toBeLessThan(4);

    const resumed = await bench(out, ...names, '--resume', path).end();
    expect(resumed.code, resumed.stderr).toBe(0);
    const whole = readRecord(path);
    expect(whole.complete).toBe(true);
    expect(whole.runs).toHaveLength(4);
    expect(whole.runs.slice(0, runs.length)).toEqual(runs);
    // Beside other contenders it would be another comparison.
    const other = await bench(out, '--tiny', '--contenders', 'native,js', '--resume', path).end();
    expect(other).toMatchObject({ code: 2, stderr: expect.stringContaining('other contenders') });
  });
});

describe.skipIf(process.platform !== 'linux' || process.getuid?.() !== 0)('a narrow link', () => {
  const allowed = () => readFileSync('/proc/sys/net/ipv4/tcp_allowed_congestion_control', 'latin1').split(/\s/);
  const row = () => `narrow-100m-32k-${allowed().includes('bbr') ? 'bbr' : 'cubic'}/plain`;
  const places = () => spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout ?? '';
  const narrow = (out: string, ...more: string[]) =>
    bench(out, '--narrow', '--contenders', 'js', '--scenario', row(), '--rounds', '1', ...more);

  it('is made, measured, and removed', async () => {
    const out = temporary();
    const running = narrow(out, '--seconds', '0.5');
    const { code, stdout, stderr } = await running.end();
    expect(code, stderr).toBe(0);
    for (const figure of ['goodput, Mbit/s', 'age p95 ms', 'sparse age p95 ms']) expect(stdout).toContain(figure);
    const [run] = readRecord(recordIn(out)).runs;
    expect(run?.report?.ok).toBe(true);
    expect(places()).not.toContain(`derpkit-bench-${running.pid}-`);
  });

  it('is removed after an interruption', async () => {
    const running = narrow(temporary(), '--seconds', '60');
    await eventually(() => places().includes(`derpkit-bench-${running.pid}-load`), 'the link');
    await running.stop('SIGINT');
    expect(places()).not.toContain(`derpkit-bench-${running.pid}-`);
  });

  it('is refused in words to others than root', async () => {
    const line = [PROGRAM, 'bench', '--narrow', '--generator', GENERATOR, '--out', temporary()];
    const nobody = ['setpriv', '--reuid', '65534', '--clear-groups', process.execPath, ...line];
    const { code, stderr } = await new Command(nobody as [string, ...string[]]).end();
    expect(code, stderr).toBe(2);
    expect(stderr).toContain('a narrow link needs root');
  });
});

it('a relay that cannot be measured fails the run', async () => {
  const server = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  const out = temporary();
  const target = ['--target', `mine=127.0.0.1:${port}`, '--scenario', 'relay'];
  const { code, stdout } = await bench(out, '--tiny', ...target).end();
  server.close();
  expect(code).toBe(1);
  expect(stdout).toContain('mine: FAILED');
  expect(readRecord(recordIn(out)).runs).toEqual([expect.objectContaining({ contender: 'mine', round: 0 })]);
});

it('a relay that runs already is measured where it is', async () => {
  const port = await freePort();
  const relay = new Command([GENERATOR, 'floor', '--listen', `127.0.0.1:${port}`]);
  await eventually(() => reachable(port), 'the relay');
  const out = temporary();
  const target = ['--target', `127.0.0.1:${port}`, '--pid', String(relay.pid), '--scenario', 'relay'];
  const { code, stderr } = await bench(out, '--tiny', ...target).end();
  await relay.stop();
  expect(code, stderr).toBe(0);
  const [run] = readRecord(recordIn(out)).runs;
  expect(run).toMatchObject({ contender: 'target', report: { ok: true, server: expect.anything() } });
});

it.each([
  ['--generator', ['/nowhere/derp-bench'], 'the load generator is missing'],
  ['--scenario', ['nonsense'], 'no row matches nonsense'],
  ['--contenders', ['native,better'], 'there is no contender better'],
  ['--target', ['nowhere'], 'host:port'],
  ['--rounds', ['0'], 'more than 0'],
  ['--picture', ['/nowhere.json'], 'no such file'],
])('%s %s is refused', async (flag, values, message) => {
  const { code, stderr } = await bench(temporary(), flag, ...values).end();
  expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
});

it('--list prints every row', async () => {
  const { code, stdout } = await bench(temporary(), '--full', '--list').end();
  expect(code).toBe(0);
  expect(stdout.trim().split('\n')).toHaveLength(profileOf('full').scenarios.length);
});
