/** How many threads move packets. */
import { availableParallelism } from 'node:os';
import { expect, it, onTestFinished } from 'vitest';
import { createRelay } from '../../src/index.js';
import { temporary } from '../cli/commands.js';
import { eventually } from '../helpers/wait.js';
import { workers } from './addon.js';

it.skipIf(process.platform !== 'linux').each([
  [undefined, availableParallelism()],
  [0, availableParallelism()],
  [1, 1],
  [3, 3],
])('the native plane starts as many workers as the setting asks for: %s', async (given, expected) => {
  const relay = createRelay({
    listen: '127.0.0.1:0',
    certMode: 'off',
    stun: false,
    plane: 'native',
    dataDir: temporary(),
    logLevel: 'silent',
    ...(given !== undefined && { workers: given }),
  });
  onTestFinished(() => relay.close());
  await relay.start();
  // A thread names itself, and may take a moment to.
  await eventually(() => workers().length >= expected, 'the workers');
  expect(workers()).toHaveLength(expected);
  await relay.close();
  await eventually(() => workers().length === 0, 'their end');
});
