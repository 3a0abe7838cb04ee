/** Packets, keepalives and logins do not need JavaScript's thread, or wait for it without harm. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { formatPrivateKey, generateKeyPair } from '../../src/protocol/key.js';
import { Command, temporary } from '../cli/commands.js';
import { DerpClient } from '../helpers/client.js';
import { Wire } from '../helpers/wire.js';
import { ROOT } from './addon.js';
import { generator } from './generator.js';

it('a relay loses no client and no packet while its JavaScript hangs for seconds', async () => {
  const keys = generateKeyPair();
  const file = join(temporary(), 'still');
  const bench = generator();
  const program = join(ROOT, '__test__', 'native', 'programs', 'stalling.mjs');
  const relay = new Command([process.execPath, program, formatPrivateKey(keys.privateKey), file]);
  const port = Number((await relay.printed(/^port (\d+)$/m))[1]);
  const dial = async () => new DerpClient(await Wire.open({ host: '127.0.0.1', port }), keys.publicKey);

  const idle = await dial();
  await idle.login();
  const pairs = ['pairs', '--pairs', '64', '--rate', '2000', '--size', '200'];
  const load = new Command([bench, ...pairs, '--seconds', '10', '--target', `127.0.0.1:${port}`, '--json'], {
    patience: 60_000,
  });
  await relay.printed(/^packets flow$/m);
  // The boxes of the logins are made before, so that all logins come while JavaScript hangs.
  const coming = await Promise.all([...Array(500)].map(async () => dialled(await dial())));

  writeFileSync(file, '');
  relay.signal('SIGUSR2');
  await relay.printed(/^stands still$/m);
  for (const { client, login } of coming) client.wire.write(login);
  for (const { client } of coming) {
    client.readFrames();
    await client.expect('ServerKey');
  }
  await idle.fence();
  // One that fell due before may have been under way; the next has not.
  for (let count = 0; count < 2; count++) await idle.expect('KeepAlive');
  expect(relay.stdout).not.toContain('goes on');

  rmSync(file);
  const [, packets] = await relay.printed(/^goes on after (\d+) packets$/m);
  expect(Number(packets)).toBeGreaterThan(0);
  for (const { client } of coming) {
    await client.expect('ServerInfo');
    const others = (await client.fence()).filter(({ type }) => type !== 'KeepAlive');
    expect(others).toEqual([]);
  }

  const { code, stdout } = await load.end();
  const { ok, traffic } = JSON.parse(stdout);
  expect({ code, ok, lost: traffic.lost_in_all }).toEqual({ code: 0, ok: true, lost: 0 });
  expect(traffic.sent_in_all).toBeGreaterThan(2000 * 10);
  expect((await relay.stop()).code).toBe(0);
});

/** What a client will send, ready to be sent. */
function dialled(client: DerpClient): { readonly client: DerpClient; readonly login: Buffer } {
  return { client, login: Buffer.concat([Buffer.from(client.head), client.clientInfo]) };
}
