/** Signs of life are those of the workers, not of the thread that asks for them. */
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { createLogger } from '../../src/logger.js';
import { composeRelay } from '../../src/relay.js';
import { temporary } from '../cli/commands.js';
import type { FaultyPlane } from '../helpers/faulty-addon.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { eventually } from '../helpers/wait.js';
import { faultyPlanes } from './addon.js';

nothingIsLeft();

it('a plane gives no sign of life while a worker hangs, and then one for each question', async () => {
  const { create, made } = faultyPlanes();
  const settings = parseSettings({
    listen: '127.0.0.1:0',
    certMode: 'off',
    stun: false,
    dataDir: temporary(),
    workers: 3,
  });
  const logger = createLogger({ format: 'json', level: 'silent' });
  const relay = composeRelay(settings, { kind: 'native', reason: 'a test', create }, { logger });
  onTestFinished(() => relay.close());
  await expect(relay.pulse()).rejects.toThrow('the relay has not started');
  await relay.start();
  for (let count = 0; count < 3; count++) await relay.pulse();

  const plane = made.plane as FaultyPlane;
  plane.plant('hang');
  // Its turn that was under way comes to its end.
  await delay(100);
  let signs = 0;
  for (let count = 0; count < 3; count++) void relay.pulse().then(() => (signs += 1));
  await delay(200);
  expect(signs).toBe(0);
  plane.plant(null);
  await eventually(() => signs === 3, 'three signs of life');
  await relay.close();
  await expect(relay.pulse()).rejects.toThrow('the relay is closed');
});
