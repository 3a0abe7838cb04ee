import { readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import type { DerpkitError } from '../../src/errors.js';
import { createLogger } from '../../src/logger.js';
import { formatPrivateKey, generateKeyPair } from '../../src/protocol/key.js';
import { composeRelay, type RelayEvents } from '../../src/relay.js';
import { Command } from '../cli/commands.js';
import { DerpClient } from '../helpers/client.js';
import { type FaultyPlane, faultyAddonPath } from '../helpers/faulty-addon.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { eventually, turn } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { faultyPlanes, ROOT, workers } from './addon.js';

nothingIsLeft();

it('a worker that panics ends the relay, and every party is told', async () => {
  const { create, made } = faultyPlanes();
  const keys = generateKeyPair();
  const settings = parseSettings({
    listen: '127.0.0.1:0',
    certMode: 'off',
    httpPort: -1,
    stun: true,
    stunPort: 0,
    privateKey: formatPrivateKey(keys.privateKey),
  });
  const logger = createLogger({ format: 'json', level: 'silent' });
  const relay = composeRelay(settings, { kind: 'native', reason: 'a test', create }, { logger });
  onTestFinished(() => relay.close());
  const faults: DerpkitError[] = [];
  const ends: RelayEvents['disconnected'][0][] = [];
  relay.on('fault', (error) => faults.push(error));
  relay.on('disconnected', (end) => ends.push(end));
  await relay.start();
  expect(workers()).not.toEqual([]);

  const target = { host: '127.0.0.1', port: relay.address?.derp.port as number };
  const clients = await Promise.all(
    [...Array(10)].map(async () => {
      const client = new DerpClient(await Wire.open(target), keys.publicKey);
      await client.login();
      return client;
    }),
  );
  const [idle, login, http] = [await Wire.open(target), await Wire.open(target), await Wire.open(target)];
  login.write((clients[0] as DerpClient).head);
  await login.take(45);
  http.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
  await http.takeThrough('\r\n\r\n');
  const traffic = clients.map(async (client) => {
    while (!client.wire.isOver) {
      for (const { key } of clients) client.sendPacket(key, Buffer.alloc(1000));
      await turn(1);
    }
  });

  (made.plane as FaultyPlane).plant('panic');
  for (const client of clients) await client.closed();
  for (const wire of [idle, login, http]) await wire.ended();
  await Promise.all(traffic);
  await expect(Wire.open(target)).rejects.toThrow('ECONNREFUSED');
  await eventually(() => faults.length > 0 && ends.length === clients.length, 'everybody to be told');
  expect(faults).toEqual([expect.objectContaining({ code: 'ERR_INTERNAL' })]);
  expect(faults[0]?.message).toBe('a worker has panicked: a fault was planted');
  // The other workers had connections too: of one plane, all end for the same reason.
  expect(new Set(ends.map(({ reason }) => reason))).toEqual(new Set(['internal_error']));

  // Nothing is left to call, and all of it may be called.
  const plane = made.plane as FaultyPlane;
  expect(() => plane.listen('127.0.0.1', 0, true, false)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  plane.close(1, 'closed');
  expect(plane.snapshot(0, 10)).toMatchObject({ total: 0 });
  await relay.close();
  await relay.close();
  expect(workers()).toEqual([]);
});

it.each(['closing', 'hanging'])(
  'a worker that panics ends a program with status 1, whether the rest is %s',
  async (how) => {
    const addon = faultyAddonPath();
    onTestFinished(() => rmSync(addon, { force: true }));
    const program = join(ROOT, '__test__', 'native', 'programs', 'panicking.mjs');
    const command = new Command([process.execPath, program, addon, how]);
    const { code, stderr } = await command.end();
    expect(code).toBe(1);
    expect(stderr).toMatch(/error: a worker has panicked: a fault was planted/);
  },
);

it('the build with faults leaves no file behind', () => {
  const directory = dirname(faultyAddonPath());
  rmSync(join(directory, `derpkit-with-faults-${process.pid}.node`));
  faultyPlanes();
  expect(readdirSync(directory)).not.toContain(`derpkit-with-faults-${process.pid}.node`);
});
