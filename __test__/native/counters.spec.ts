import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { COUNTER_NAMES, CounterPage } from '../../src/plane/counters.js';
import { type Binding, nativePlane } from '../../src/plane/native.js';
import type { PlaneEvents } from '../../src/plane/plane.js';
import { planePolicy } from '../../src/policy.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { Contract } from '../helpers/contract.js';
import { type FaultyPlane, faultyAddon } from './addon.js';

/** A plane of an addon with faults, and the binding below it. */
function plane(change: (page: ArrayBuffer | null) => ArrayBuffer | null = (page) => page) {
  const addon = faultyAddon();
  const made: { binding?: FaultyPlane; page?: ArrayBuffer | null } = {};
  class Watched extends addon.BindingPlane {
    constructor(...args: ConstructorParameters<Binding['BindingPlane']>) {
      super(...args);
      made.binding = this as unknown as FaultyPlane;
    }

    override counters(): ArrayBuffer | null {
      made.page = super.counters();
      return change(made.page);
    }
  }
  const policy = planePolicy(parseSettings({ certMode: 'off' }));
  const { privateKey } = generateKeyPair();
  const create = nativePlane({ version: addon.version, BindingPlane: Watched });
  const dataPlane = create({ privateKey, policy }, new Contract({} as PlaneEvents));
  onTestFinished(() => dataPlane.shutdown());
  return { counters: dataPlane.counters, binding: made.binding as FaultyPlane, page: made.page as ArrayBuffer };
}

/** What is written on the Rust side after the view was made. */
const NUMBERED = Object.fromEntries(COUNTER_NAMES.map((name, row) => [name, row + 1]));

it('the counters page is the plane’s own memory', () => {
  const { counters, binding, page } = plane();
  binding.numberCounters();
  expect(counters.readAll()).toEqual(NUMBERED);
  expect(binding.isCounters(page)).toBe(true);
  expect(binding.isCounters(page.slice(0))).toBe(false);
  expect(new CounterPage(new BigUint64Array(page)).readAll()).toEqual(NUMBERED);
});

it('where JavaScript may not see it, every reading copies it', () => {
  const { counters, binding } = plane(() => null);
  binding.numberCounters();
  // To ask for the copy is a crossing.
  const asked = NUMBERED.crossings_down as number;
  expect(counters.readAll()).toEqual({ ...NUMBERED, crossings_down: asked + 1 });
  expect(counters.read('accepts')).toBe(NUMBERED.accepts);
});
