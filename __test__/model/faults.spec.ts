/** A test that finds nothing proves nothing: bugs are planted in the native plane, and the traces have to find each. */
import { beforeAll, describe, expect, it } from 'vitest';
import { loadAddon } from '../../src/plane/addon.js';
import type { Binding } from '../../src/plane/binding.js';
import { FAULTS } from '../helpers/faulty-addon.js';
import { laneNamed } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { SLOTS } from './cast.js';
import { findFailure, problemOf, STEPS, seedOf, shortest, TRACES } from './check.js';
import { type FaultyLane, faultyLane } from './faulty.js';
import { Rig } from './rig.js';
import { shrink } from './shrink.js';
import { traceOf } from './steps.js';

nothingIsLeft();

let lane: FaultyLane;
beforeAll(() => {
  lane = faultyLane();
});

const BUDGET = Array.from({ length: TRACES }, (_, index) => index);

describe('bugs planted in the native plane', () => {
  it('the traces find no bug while none is planted', async () => {
    const { failure } = await findFailure(lane, BUDGET.slice(0, 10));
    expect(failure).toBeUndefined();
  });

  it.each(FAULTS)('the traces find a bug within the budget: %s', async (fault) => {
    const { played, failure } = await findFailure(lane, BUDGET, (rig) => lane.plant(rig, fault), 1);
    if (!failure)
      throw new Error(`${fault} was not found in ${played} traces that begin with DERPKIT_SEED=${seedOf(0)}`);
    console.log(`${fault}: found by trace ${failure.index + 1} of ${TRACES}`);
    // The trace passes without the bug, so the trace found this bug.
    expect(await problemOf(lane, failure.steps, undefined, undefined, failure.tls)).toBeUndefined();
  });

  it('a failing trace can be played again, and shrinks to a few steps that fail', async () => {
    const prepare = (rig: Rig) => lane.plant(rig, 'lost-peer-gone');
    const { failure } = await findFailure(lane, BUDGET, prepare, 1);
    if (!failure) throw new Error('nothing was found');
    expect(failure.steps).toEqual(traceOf(failure.seed, STEPS));
    const { steps, problem } = await shortest(lane, failure, prepare);
    console.log(`lost-peer-gone, in ${steps.length} of ${STEPS} steps: ${problem}`);
    expect(steps.length).toBeLessThan(STEPS / 4);
    expect(problem).not.toBe('');
  });
});

describe('a panic in a worker', () => {
  it('a worker that panics ends every connection and every listener, and is reported loudly', async () => {
    const rig = await Rig.open(lane);
    const reported: Error[] = [];
    rig.relay.relay.on('fault', (error) => reported.push(error));
    const clients = [];
    for (const actor of SLOTS) clients.push(await rig.connect(actor));
    lane.plant(rig, 'panic');
    for (const { peer, id } of clients) {
      expect(await rig.reasonOf(id)).toMatch(/^internal_error$|^shutdown$/);
      await peer.ended();
    }
    expect(rig.faults).toEqual(['ERR_INTERNAL: a worker has panicked: a fault was planted, and that is the end']);
    expect(reported).toHaveLength(1);
    expect(rig.relay.disconnected).toHaveLength(clients.length);
    await expect(rig.connect(SLOTS[0] as (typeof SLOTS)[number])).rejects.toThrow();
    expect(rig.relay.relay.figures().connections).toBe(0);
    await rig.relay.relay.close();
  });
});

describe('builds of the addon', () => {
  it('the published addon cannot plant bugs', () => {
    const { reason: path } = laneNamed('native').select();
    expect(loadAddon<Binding>(path).BindingPlane.prototype).not.toHaveProperty('plant');
    expect(lane.addon.BindingPlane.prototype).toHaveProperty('plant');
  });
});

describe('shrinking', () => {
  it.each([1, 2, 7, 100])('shrinking finds the two of %s things that matter', async (count) => {
    const things = Array.from({ length: count }, (_, index) => index);
    const needed = [Math.floor(count / 3), count - 1];
    const fails = async (some: readonly number[]) => needed.every((thing) => some.includes(thing));
    expect(await shrink(things, fails, 1000)).toEqual([...new Set(needed)]);
  });

  it('shrinking ends after a given number of looks, with a rest that fails', async () => {
    const things = Array.from({ length: 64 }, (_, index) => index);
    let looks = 0;
    const fails = async (some: readonly number[]) => {
      looks += 1;
      return some.includes(17);
    };
    const left = await shrink(things, fails, 3);
    expect(looks).toBe(3);
    expect(left).toContain(17);
    expect(left.length).toBeLessThan(64);
  });
});
