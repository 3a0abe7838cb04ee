import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { COLOURED, PLAIN } from '../../../../src/cli/columns.js';
import { SORTS, type Sort, sorted } from '../../../../src/cli/top/clients.js';
import type { Busy, Sample } from '../../../../src/cli/top/feed.js';
import { frameOf, KEYS, reportOf } from '../../../../src/cli/top/frame.js';
import { bare } from '../../../cli/terminal.js';
import { CLIENT, SAMPLE } from './sample.js';

const BEFORE = SAMPLE;
const NOW: Sample = {
  ...BEFORE,
  time: BEFORE.time + 2,
  packetsIn: 3000,
  bytesIn: 2_000_000,
  drops: { unknown_dest: 9, queue_head: 2 },
  cpu: 3.5,
};

const client = (more: Partial<Busy> = {}): Busy => ({ ...CLIENT, ...more });

const [RATE] = SORTS as readonly [Sort];
const BIG = { width: 200, height: 50 };
const report = (clients: readonly Busy[] = [], now = NOW) =>
  reportOf('https://relay.test', { before: BEFORE, now, busiest: [] }, clients);

it('docs/operating.md describes each field of a frame as JSON', () => {
  const page = readFileSync(new URL('../../../../docs/operating.md', import.meta.url), 'utf8');
  const table = /\| field of `--json` .*\n((?:\|.*\n)+)/.exec(page)?.[1] ?? '';
  const described = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names = '']) => names.match(/\w+/g) ?? []);
  expect(described.sort()).toEqual(Object.keys(report()).sort());
});

describe('the figures of derpkit top', () => {
  it('a rate is the growth of a counter in a second', () => {
    const { seconds, rates, totals, drops, cpu } = report();
    expect({ seconds, packets: rates.packetsIn, bytes: rates.bytesIn, cpu }).toEqual({
      seconds: 2,
      packets: 1000,
      bytes: 500_000,
      cpu: 25,
    });
    expect(totals.packetsIn).toBe(3000);
    expect(drops).toEqual({ unknown_dest: { total: 9, rate: 2 }, queue_head: { total: 2, rate: 1 } });
  });

  it('no rate is below 0 when the relay has started again', () => {
    const { rates, drops, cpu } = report([], { ...NOW, packetsIn: 3, cpu: 0.1, drops: { unknown_dest: 1 } });
    expect([rates.packetsIn, cpu, drops.unknown_dest?.rate]).toEqual([0, 0, 0]);
  });

  it.each([
    ['rate', 'a'],
    ['from', 'b'],
    ['to', 'a'],
    ['rx', 'c'],
    ['tx', 'b'],
    ['queued', 'c'],
    ['dropped', 'b'],
  ])('clients are sorted by %s, the largest first', (name, first) => {
    const clients = [
      client({ key: 'c', rxBytes: 9, queued: 4 }),
      client({ key: 'a', txRate: 9 }),
      client({ key: 'b', rxRate: 7, txBytes: 9, dropped: 3 }),
    ];
    expect(sorted(clients, SORTS.find((sort) => sort.name === name) as Sort)[0]?.key).toBe(first);
  });
});

describe('a frame of derpkit top', () => {
  it('a frame has a line for each kind of figure, and one for each client', () => {
    const clients = [
      client({ app: 'an app', rxRate: 1_234_567, txRate: 999.6 }),
      client({ address: '2001:db8::1', rxBytes: 5e9 }),
    ];
    expect(frameOf(report(clients), BIG, RATE, PLAIN)).toEqual([
      'relay     https://relay.test at 2026-11-18T11:06:42Z',
      'clients   2 connections of 2 keys, 1 at home',
      'packets   in 1k/s (3,000)  out 0/s (900)',
      'bits      in 4Mbit/s  out 0bit/s',
      'dropped   unknown_dest 2/s (9)  queue_head 1/s (2)',
      'logins    admitted 0/s (10)  failed 0/s (1)  refused 0/s (0)',
      'failed    login bad_box 0/s (1)',
      'process   processor 25.0 %  memory 80MB  delay in queues 0.25 ms',
      'mesh      1 link of other relays  b.test connected, 7 keys',
      '',
      'NODE KEY         FROM bit/s   TO bit/s   FROM B     TO B QUEUED  DROPPED ADDRESS     APP',
      'abababababababab       1.2M         1k        1        1      0        0 192.0.2.1   an app',
      'abababababababab          1          1       5G        1      0        0 2001:db8::1',
    ]);
  });

  it('a frame without drops says so', () => {
    expect(frameOf(report([], { ...NOW, drops: {} }), BIG, RATE, PLAIN)).toContain('dropped   none');
  });

  it('a relay of an earlier version says nothing of links, and a single one is no plural', () => {
    const { links: _none, ...earlier } = NOW;
    const mesh = [{ relay: 'b.test', state: 'connected', peers: 1 }];
    const lines = frameOf(report([], { ...earlier, mesh, connections: 1, keys: 1 }), BIG, RATE, PLAIN);
    expect(lines).toContain('clients   1 connection of 1 key, 1 at home');
    expect(lines).toContain('mesh      b.test connected, 1 key');
  });

  it('a frame shows no characters of a relay that could move the cursor', () => {
    const evil = '\x1b[2J\u202e\x07ü';
    const lines = frameOf(
      {
        ...report([client({ app: evil, address: evil, key: evil })]),
        relay: evil,
        mesh: [{ relay: evil, state: evil, peers: evil as unknown as number }],
      },
      BIG,
      RATE,
      PLAIN,
    );
    expect(lines.filter((line) => /[^\x20-\x7e]/.test(line))).toEqual([]);
  });

  it.each([
    [200, 50],
    [80, 24],
    [40, 12],
    [9, 3],
    [1, 1],
  ])('a frame fits into %i columns and %i rows', (width, height) => {
    const clients = Array.from({ length: 60 }, () =>
      client({ app: 'x'.repeat(32), address: '2001:db8::'.padEnd(39, '1') }),
    );
    for (const style of [PLAIN, COLOURED]) {
      const lines = frameOf(report(clients), { width, height }, RATE, style, KEYS).map(bare);
      expect(lines.length).toBeLessThanOrEqual(height);
      expect(lines.filter((line) => line.length > width)).toEqual([]);
      // The keys stay where there is room for clients.
      if (height > 12) expect(lines.at(-1)).toMatch(/^by rate; q: end, r: rate/);
    }
  });
});
