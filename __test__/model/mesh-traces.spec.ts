/** Random traces over two meshed relays. Each plane must behave as the model does. */
import { describe, expect, it } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { seedOf } from './check.js';
import { type Meddle, playMesh } from './mesh-play.js';
import { type MeshStep, meshTraceOf } from './mesh-steps.js';
import { shrink } from './shrink.js';

nothingIsLeft();

const STEPS = 80;
const LONG = process.env.DERPKIT_LONG ? 20 : 1;
const TRACES = (process.env.DERPKIT_TRACES ? Number(process.env.DERPKIT_TRACES) : 40) * LONG;
const AT_ONCE = 4;
const PATIENCE = 15_000;
/** For shorter traces that may fail as well: each waits in vain. */
const IMPATIENCE = 2_000;

describe.each(LANES.filter(({ name }) => name !== 'js-async'))('a mesh on the plane $name', (lane) => {
  it(`two meshed relays behave as the model in ${TRACES} traces of ${STEPS} steps`, {
    timeout: 300_000 * LONG,
  }, async () => {
    const tally = new Map<string, number>();
    const rest = Array.from({ length: TRACES }, (_, index) => seedOf(index))[Symbol.iterator]();
    const walk = async () => {
      for (const seed of rest) {
        const steps = meshTraceOf(seed, STEPS);
        const done = await playMesh(lane, steps, PATIENCE).catch((error: Error) => fail(seed, steps, error));
        for (const [what, times] of done) tally.set(what, (tally.get(what) ?? 0) + times);
      }
    };
    const fail = async (seed: number, steps: readonly MeshStep[], error: Error): Promise<never> => {
      const fails = async (some: readonly MeshStep[]) =>
        playMesh(lane, some, IMPATIENCE).then(
          () => false,
          () => true,
        );
      const short = await shrink(steps, fails, 60);
      const again = `DERPKIT_SEED=${seed} DERPKIT_TRACES=1 npx vitest run --project model mesh-traces`;
      const lines = short.map((step) => `  ${JSON.stringify(step)}`);
      throw new Error([`trace ${seed}: ${error.message}`, again, ...lines].join('\n'), { cause: error });
    };
    await Promise.all(Array.from({ length: AT_ONCE }, walk));
    const wanted = ['connect', 'close', 'send here', 'send elsewhere', 'cut', 'restore', 'forwarded', 'dropped'];
    // An event that never happened was not tested.
    if (TRACES >= 10) expect(wanted.filter((what) => !tally.get(what))).toEqual([]);
  });
});

describe('these tests can fail', () => {
  const FAULTS: Record<string, Meddle> = {
    'a route that stays': (plane) => ({ route: (key, via) => void (via !== null && plane.route(key, via)) }),
    'a route that is not made': (plane) => ({ route: (key, via) => void (via === null && plane.route(key, via)) }),
    'a departure that is not reported': () => ({ gone: () => {} }),
    'a departure too many': (plane) => ({
      route: (key, via) => {
        plane.route(key, via);
        plane.gone(key, 0);
      },
    }),
  };

  it.each(Object.entries(FAULTS))('the traces find %s', async (_name, meddle) => {
    const lane = LANES[0] as (typeof LANES)[number];
    const play = async () => {
      for (let index = 0; index < TRACES; index++)
        await playMesh(lane, meshTraceOf(seedOf(index), STEPS), 1000, meddle);
    };
    await expect(play()).rejects.toThrow();
  });
});
