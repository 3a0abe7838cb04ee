import { expect, it } from 'vitest';
import { Registry } from '../../../src/registry/registry.js';
import { keyOf } from '../plane/context.js';

/** Longer after the login than a first choice of a home may take, in milliseconds. */
const LATER = 9000;

it.each([
  [false, true, 1, [1, 1, 0]],
  [false, false, 2, [0, 1, 1]],
  [false, true, 3, [1, 2, 1]],
  [true, false, 1, [0, 0, 1]],
  [true, true, 2, [1, 1, 1]],
  [true, false, 7, [0, 3, 4]],
])('a home that was %s, and is %s after %i changes, counts each change as a move', (before, after, changes, wanted) => {
  const registry = new Registry(keyOf(0));
  const said = { appName: '', version: 2, tlsVersion: null, mesh: false, prober: false, notIdeal: false };
  registry.connected({ id: 1, key: keyOf(1), address: '192.0.2.1', port: 40000, ...said }, 0);
  if (before) registry.prefer(1, true, 1, 0);
  registry.prefer(1, after, changes, LATER);
  const { home, homeMovesIn, homeMovesOut } = registry.figures();
  expect([home, homeMovesIn, homeMovesOut]).toEqual(wanted);
});
