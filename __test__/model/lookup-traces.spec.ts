/** Random traces over a plane that asks for keys, with a control plane that answers, delays or denies. */
import { describe, expect, it } from 'vitest';
import type { DataPlane, PlaneFactory, PlanePolicy } from '../../src/plane/plane.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { seedOf } from './check.js';
import { playLookups } from './lookup-play.js';
import { type LookupStep, lookupTraceOf } from './lookup-steps.js';
import { BOUNDS } from './lookup-world.js';
import { shrink } from './shrink.js';

nothingIsLeft();

const STEPS = 120;
const LONG = process.env.DERPKIT_LONG ? 20 : 1;
const TRACES = (process.env.DERPKIT_TRACES ? Number(process.env.DERPKIT_TRACES) : 30) * LONG;
const AT_ONCE = 4;
const PATIENCE = 15_000;
/** For shorter traces that may fail as well: each waits in vain. */
const IMPATIENCE = 2_000;

/** What the traces have to meet: an event that never happened was not tested. Some are rare: further traces are played until all have. */
const WANTED = [
  ...['connect', 'close', 'send', 'arrive', 'route', 'missing', 'unroute', 'gone', 'rush', 'cut', 'policy', 'heard'],
  ...['asked', 'missing', 'missed', 'limited', 'crowded', 'share', 'evicted', 'inherited'].map(
    (name) => `lookups:${name}`,
  ),
  ...['unknown_dest', 'unknown_dest_on_fwd', 'queue_head', 'mesh_down'].map((why) => `packets_dropped:${why}:disco`),
  'packets_forwarded_out',
];

describe.each(LANES.filter(({ name }) => name !== 'js-async'))('lookups on the plane $name', (lane) => {
  it(`the plane behaves as the model in ${TRACES} traces of ${STEPS} steps`, { timeout: 300_000 * LONG }, async () => {
    const tally = new Map<string, number>();
    const unmet = () => (TRACES >= 10 ? WANTED.filter((what) => !tally.get(what)) : []);
    let begun = 0;
    const walk = async () => {
      while (begun < TRACES || (begun < 20 * TRACES && unmet().length > 0)) {
        const seed = seedOf(begun);
        begun += 1;
        const steps = lookupTraceOf(seed, STEPS);
        const done = await playLookups(lane, steps, PATIENCE).catch((error: Error) => fail(seed, steps, error));
        for (const [what, times] of done) tally.set(what, (tally.get(what) ?? 0) + times);
      }
    };
    const fail = async (seed: number, steps: readonly LookupStep[], error: Error): Promise<never> => {
      const fails = async (some: readonly LookupStep[]) =>
        playLookups(lane, some, IMPATIENCE).then(
          () => false,
          () => true,
        );
      const short = await shrink(steps, fails, 60);
      const again = `DERPKIT_SEED=${seed} DERPKIT_TRACES=1 npx vitest run --project model lookup-traces`;
      const lines = short.map((step) => `  ${JSON.stringify(step)}`);
      throw new Error([`trace ${seed}: ${error.message}`, again, ...lines].join('\n'), { cause: error });
    };
    await Promise.all(Array.from({ length: AT_ONCE }, walk));
    expect(unmet()).toEqual([]);
  });
});

describe('these tests can fail', () => {
  const commands =
    (meddle: (plane: DataPlane) => Partial<DataPlane>): Fault =>
    (create) =>
    (options, events) => {
      const plane = create(options, events);
      const meddled = meddle(plane);
      return new Proxy(plane, {
        get: (inner, name: keyof DataPlane) => {
          const member = meddled[name] ?? inner[name];
          return typeof member === 'function' ? member.bind(inner) : member;
        },
      });
    };
  const policy =
    (change: (policy: PlanePolicy) => Partial<PlanePolicy>): Fault =>
    (create) =>
    (options, events) =>
      create({ ...options, policy: { ...options.policy, ...change(options.policy) } }, events);
  const bounds = (change: Partial<NonNullable<PlanePolicy['lookups']>>) =>
    policy(({ lookups }) => ({ lookups: lookups && { ...lookups, ...change } }));

  const FAULTS: Record<string, Fault> = {
    'an answer that is lost': commands(() => ({ missing: () => {} })),
    'a route that is lost': commands((plane) => ({
      route: (key, via) => void (via === null && plane.route(key, via)),
    })),
    'a route that is missing as well': commands((plane) => ({
      route: (key, via) => {
        plane.missing(key);
        plane.route(key, via);
      },
    })),
    'a departure that is not reported': commands(() => ({ gone: () => {} })),
    'a packet more that waits': policy(({ queueDepth }) => ({ queueDepth: queueDepth + 1 })),
    'a key more that is asked for': bounds({ keys: BOUNDS.keys + 1 }),
    'a key more of one address': bounds({ keysPerAddress: BOUNDS.share + 1 }),
    'a lookup more than a client may cause': bounds({ burst: BOUNDS.burst + 1 }),
    'a known miss more': bounds({ misses: BOUNDS.misses + 1 }),
    'misses that end': bounds({ missTime: 0 }),
    'NotHere beyond its bound': policy(() => ({ notHere: { burst: 1, perSecond: 0 } })),
  };

  it.each(Object.entries(FAULTS))('the traces find %s', async (_name, fault) => {
    const lane = LANES[0] as Lane;
    const selected = lane.select();
    const faulty: Lane = { ...lane, select: () => ({ ...selected, create: fault(selected.create) }) };
    const play = async () => {
      // The first trace that meets the fault ends it; few do for the rarest.
      for (let index = 0; index < 5 * TRACES; index++)
        await playLookups(faulty, lookupTraceOf(seedOf(index), STEPS), 1000);
    };
    await expect(play()).rejects.toThrow();
  });
});

/** A factory whose planes do one thing wrong. */
type Fault = (create: PlaneFactory) => PlaneFactory;
