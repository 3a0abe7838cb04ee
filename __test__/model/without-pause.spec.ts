import { beforeAll, describe, expect, it } from 'vitest';
import { laneNamed } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { STEPS, seedOf } from './check.js';
import { type FaultyLane, faultyLane } from './faulty.js';
import { race } from './race.js';
import type { Rig } from './rig.js';
import { type Step, traceOf } from './steps.js';

nothingIsLeft();

const RACES = process.env.DERPKIT_LONG ? 5000 : 100;

async function wrongIn(
  lane: Parameters<typeof race>[0],
  count: number,
  before?: (rig: Rig) => void,
): Promise<string[]> {
  for (let index = 0; index < count; index++) {
    const seed = seedOf(index);
    const steps: Step[] = traceOf(seed, STEPS);
    const findings = await race(lane, steps, before);
    if (findings.length > 0) return [`trace ${seed}`, ...findings];
  }
  return [];
}

describe.each(['js', 'native'])('without a pause between the steps, on %s', (name) => {
  it(`no packet is lost uncounted, goes astray, or overtakes, in ${RACES} traces`, async () => {
    expect(await wrongIn(laneNamed(name), RACES)).toEqual([]);
  });
});

describe('these tests can fail', () => {
  let lane: FaultyLane;
  beforeAll(() => {
    lane = faultyLane();
  });

  it.each(['reorder', 'misroute'] as const)('the traces find the planted bug %s', async (fault) => {
    expect(await wrongIn(lane, RACES, (rig) => lane.plant(rig, fault))).not.toEqual([]);
  });
});
