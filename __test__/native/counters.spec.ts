import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { COUNTER_NAMES, CounterPage } from '../../src/plane/counters.js';
import type { PlaneEvents } from '../../src/plane/plane.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { planePolicy } from '../../src/relay/policy.js';
import { Contract } from '../helpers/contract.js';
import type { FaultyPlane } from '../helpers/faulty-addon.js';
import { faultyPlanes } from './addon.js';

function plane(page?: Parameters<typeof faultyPlanes>[0]) {
  const { create, made } = faultyPlanes(page);
  const policy = planePolicy(parseSettings({ certMode: 'off' }));
  const { privateKey } = generateKeyPair();
  const dataPlane = create({ privateKey, policy }, new Contract({} as PlaneEvents));
  onTestFinished(() => dataPlane.shutdown());
  return { counters: dataPlane.counters, binding: made.plane as FaultyPlane, page: made.page as ArrayBuffer };
}

/** What is written on the Rust side after the view was made. */
const NUMBERED = Object.fromEntries(COUNTER_NAMES.map((name, row) => [name, row + 1]));

it('the counter page is the plane’s own memory', () => {
  const { counters, binding, page } = plane();
  binding.numberCounters();
  expect(counters.readAll()).toEqual(NUMBERED);
  expect(binding.isCounters(page)).toBe(true);
  expect(binding.isCounters(page.slice(0))).toBe(false);
  expect(new CounterPage(new BigUint64Array(page)).readAll()).toEqual(NUMBERED);
});

it('each reading copies the counter page if JavaScript cannot view it', () => {
  const { counters, binding } = plane(() => null);
  binding.numberCounters();
  // To ask for the copy is a crossing.
  const asked = NUMBERED.crossings_down as number;
  expect(counters.readAll()).toEqual({ ...NUMBERED, crossings_down: asked + 1 });
  expect(counters.read('accepts')).toBe(NUMBERED.accepts);
});
