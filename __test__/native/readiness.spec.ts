/** A worker of the native plane that hangs: `/readyz` has to tell of it. */
import { expect, it } from 'vitest';
import type { FaultyPlane } from '../helpers/faulty-addon.js';
import { ask } from '../helpers/http.js';
import type { Lane } from '../helpers/lanes.js';
import { startRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { faultyPlanes } from './addon.js';

it('a relay whose worker hangs is not ready, and is again when it goes on', async () => {
  const { create, made } = faultyPlanes();
  const select: Lane['select'] = () => ({ kind: 'native', reason: 'a test', create });
  const relay = await startRelay(
    { name: 'native', planeKind: 'native', select },
    {
      config: { metrics: { listen: 0 }, workers: 1 },
      dataPathTimes: { interval: 10, patience: 300 },
    },
  );
  const until = async (status: number) => {
    const answer = await eventually(async () => {
      const given = await ask(relay.metricsTarget(), '/readyz');
      return given.status === status && given;
    }, `/readyz to answer ${status}`);
    return answer.body;
  };
  await until(200);
  const plane = made.plane as FaultyPlane;
  plane.plant('hang');
  try {
    expect(await until(503)).toMatch(/^not ready:\nno packet has passed through the data plane for \d+ s\n$/);
  } finally {
    plane.plant(null);
  }
  await until(200);
});
