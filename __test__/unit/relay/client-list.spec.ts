import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import type { DataPlane } from '../../../src/plane/plane.js';
import { SNAPSHOT_COLUMNS } from '../../../src/plane/plane.js';
import { readNodeKey } from '../../../src/protocol/key.js';
import { Registry } from '../../../src/registry/registry.js';
import { type ClientParts, clientPieces, eachClient } from '../../../src/relay/client-list.js';

const WIDTH = SNAPSHOT_COLUMNS.length;
const SERVER = readNodeKey(Buffer.alloc(32, 0xff));

/** A plane that has connections with these ids, and records the requests for them. */
function planeOf(ids: readonly number[]) {
  const asked: number[] = [];
  const snapshot: DataPlane['snapshot'] = async (after, limit) => {
    asked.push(after);
    const page = ids.filter((id) => id > after).slice(0, limit);
    const rows = Float64Array.from(page.flatMap((id) => [id, ...Array<number>(WIDTH - 1).fill(0)]));
    return { total: ids.length, rows, links: new Float64Array() };
  };
  return { plane: { snapshot } as DataPlane, asked };
}

function registryOf(ids: readonly number[]): Registry {
  const registry = new Registry(SERVER);
  const bytes = Buffer.alloc(32);
  for (const id of ids) {
    bytes.writeUInt32BE(id);
    const said = { appName: '', version: 2, tlsVersion: null, mesh: false, prober: false, notIdeal: false };
    registry.connected({ id, key: readNodeKey(bytes), address: '192.0.2.1', port: 1, ...said }, 0);
  }
  return registry;
}

function partsOf(registered: readonly number[], connected: readonly number[], countsSenders = false): ClientParts {
  return { registry: registryOf(registered), plane: planeOf(connected).plane, countsSenders };
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index + 1);

it('100,000 clients are listed in pieces, between which the relay does other work', async () => {
  const ids = upTo(100_000);
  const [registry, { plane, asked }] = [registryOf(ids), planeOf(ids)];
  let turns = 0;
  const other = setInterval(() => {
    turns += 1;
  }, 0);
  const seen: number[] = [];
  let longest = 0;
  for await (const piece of clientPieces({ registry, plane, countsSenders: false })) {
    seen.push(...piece.map(({ id }) => id));
    longest = Math.max(longest, piece.length);
  }
  clearInterval(other);
  expect(seen).toEqual(ids);
  expect(longest).toBeLessThanOrEqual(1000);
  expect(asked.length).toBeGreaterThanOrEqual(100);
  expect(turns).toBeGreaterThan(20);
});

it.each([0, 1, 999, 1000, 1001])('%i clients are each listed once', async (count) => {
  const ids = upTo(count);
  const seen: number[] = [];
  for await (const { id } of eachClient(partsOf(ids, ids))) seen.push(id);
  expect(seen).toEqual(ids);
});

it('the list omits connections that the registry does not know yet, or no longer knows', async () => {
  const seen: number[] = [];
  for await (const { id } of eachClient(partsOf([1, 3, 4], [1, 2, 3]))) seen.push(id);
  expect(seen).toEqual([1, 3]);
});

it.each([
  [true, 0],
  [false, null],
])('the list has a number of senders if the plane counts them: %s', async (countsSenders, senders) => {
  for await (const client of eachClient(partsOf([1], [1], countsSenders))) expect(client.senders).toBe(senders);
  expect.assertions(1);
});

it('docs/operating.md describes each field of a client', async () => {
  const page = readFileSync(new URL('../../../docs/operating.md', import.meta.url), 'utf8');
  const table = /\| field of `\/debug\/clients\.json` .*\n((?:\|.*\n)+)/.exec(page)?.[1] ?? '';
  const described = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names = '']) => names.match(/\w+/g) ?? []);
  for await (const client of eachClient(partsOf([1], [1]))) {
    expect(described.slice(described.indexOf('id')).sort()).toEqual(Object.keys(client).sort());
  }
  expect.assertions(1);
});
