/** How planes end: with their process, their thread, or by themselves, and what is left of them then. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { formatPrivateKey, generateKeyPair } from '../../src/protocol/key.js';
import { Command } from '../cli/commands.js';
import { DerpClient } from '../helpers/client.js';
import { turn } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { ROOT } from './addon.js';

const PROGRAMS = join(ROOT, '__test__', 'native', 'programs');

/** Starts a process with a relay, and clients that send to each other until it is gone. */
async function serving(how: string) {
  const keys = generateKeyPair();
  const program = [process.execPath, join(PROGRAMS, 'serving.mjs'), how, formatPrivateKey(keys.privateKey)] as const;
  const command = new Command([...program]);
  const port = Number((await command.printed(/^port (\d+)$/m))[1]);
  const dial = async () => {
    const client = new DerpClient(await Wire.open({ host: '127.0.0.1', port }), keys.publicKey);
    await client.login();
    return client;
  };
  const clients = await Promise.all([...Array(4)].map(dial));
  let packets = 0;
  for (const client of clients) {
    client.onPacket = () => {
      packets += 1;
    };
  }
  const traffic = clients.map(async (client, index) => {
    const to = clients[(index + 1) % clients.length] as DerpClient;
    while (!client.wire.isOver) {
      client.sendPacket(to.key, Buffer.alloc(1000));
      await turn(1);
    }
  });
  while (packets < 1000) await turn(1);
  return { command, gone: () => Promise.all([...traffic, ...clients.map((client) => client.closed())]) };
}

it.each([
  ['SIGTERM that nobody handles', 'signal', 'SIGTERM', { code: null, signal: 'SIGTERM' }],
  ['SIGKILL', 'signal', 'SIGKILL', { code: null, signal: 'SIGKILL' }],
  ['process.exit()', 'exit', 'SIGUSR2', { code: 3, signal: null }],
  ['an uncaught exception', 'throw', 'SIGUSR2', { code: 1, signal: null }],
  ['close()', 'close', 'SIGUSR2', { code: 0, signal: null }],
  ['process.exit() while it closes', 'close-and-exit', 'SIGUSR2', { code: 4, signal: null }],
  ['termination of its worker thread', 'terminate-worker', 'SIGUSR2', { code: 0, signal: null }],
  ['process.exit() in its worker thread', 'exit-worker', 'SIGUSR2', { code: 0, signal: null }],
  ['process.exit() around its worker thread', 'exit-around-worker', 'SIGUSR2', { code: 5, signal: null }],
] as const)('%s ends a relay with traffic flowing', async (_, how, signal, end) => {
  for (let round = 0; round < 5; round++) {
    const { command, gone } = await serving(how);
    const { code, signal: by, stderr } = await command.stop(signal);
    expect({ code, signal: by }).toEqual(end);
    if (how === 'throw') expect(stderr).toContain('Error: on purpose');
    else expect(stderr).toBe('');
    await gone();
  }
});

it('a thousand planes leave no trace', async () => {
  const program = [process.execPath, '--expose-gc', join(PROGRAMS, 'again.mjs'), '1000'] as const;
  const { code, stdout, stderr } = await new Command([...program], { patience: 100_000 }).end();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { before, after, alive } = JSON.parse(stdout);
  expect(after).toMatchObject({ open: before.open, threads: before.threads });
  // Not even the objects that stood for them: a plane's memory alone would be 256 KiB for each worker.
  expect(alive).toBeLessThan(50);
  expect(after.megabytes - before.megabytes).toBeLessThan(100);
});

it('planes in many threads leave no trace', async () => {
  const program = [process.execPath, join(PROGRAMS, 'threads.mjs'), '20'] as const;
  const { code, stdout, stderr } = await new Command([...program], { patience: 100_000 }).end();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const { before, after } = JSON.parse(stdout);
  expect(after).toEqual(before);
});
