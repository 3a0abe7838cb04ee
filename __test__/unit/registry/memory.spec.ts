import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { readNodeKey } from '../../../src/protocol/key.js';
import { Registry } from '../../../src/registry/registry.js';
import { keyOf } from '../plane/context.js';

const CLIENTS = 100_000;
/** Bytes of heap for one client, its key and address included: a tenth of what a whole idle client may cost. */
const BUDGET = 400;

setFlagsFromString('--expose_gc');
const collect = runInNewContext('gc') as () => void;

it(`${CLIENTS.toLocaleString('en')} clients cost at most ${BUDGET} bytes of heap each, which the registry frees when the clients leave`, () => {
  const registry = new Registry(keyOf(0));
  // Objects that are made once are made before the measurement.
  fill(registry, 1000);
  empty(registry, 1000);
  const before = heap();
  fill(registry, CLIENTS);
  const each = (heap() - before) / CLIENTS;
  console.log(`registry: ${each.toFixed(0)} bytes a client`);
  expect(registry.figures().connections).toBe(CLIENTS);
  expect(each).toBeLessThanOrEqual(BUDGET);
  // A figure this low would mean that the measure is wrong: the key alone has 48.
  expect(each).toBeGreaterThan(100);
  empty(registry, CLIENTS);
  const left = (heap() - before) / CLIENTS;
  expect(left).toBeLessThan(60);
});

/** Clients as a plane reports them: each key and address a string of its own, made from bytes that came. */
function fill(registry: Registry, clients: number): void {
  const bytes = Buffer.alloc(32);
  for (let id = 1; id <= clients; id++) {
    bytes.fill(id & 0xff);
    bytes.writeUInt32BE(id, 0);
    const address = [100, 64 + (id >> 16), (id >> 8) & 0xff, id & 0xff].join('.');
    const port = 1024 + (id % 60_000);
    const arrival = { id, key: readNodeKey(bytes), address, port, appName: '', version: 2, tlsVersion: '1.3' as const };
    registry.connected({ ...arrival, mesh: false, prober: false, notIdeal: false }, id + 0.25);
    registry.prefer(id, true, 1, id);
  }
}

function empty(registry: Registry, clients: number): void {
  for (let id = 1; id <= clients; id++) registry.disconnected(id);
}

function heap(): number {
  collect();
  collect();
  return process.memoryUsage().heapUsed;
}
