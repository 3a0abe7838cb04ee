/** What the conformance suite runs over: the same tests, once for every way in which a plane can be had. */
import type { PlaneKind } from '../../src/plane/plane.js';
import { type SelectedPlane, selectPlane } from '../../src/plane/select.js';
import { asyncPlane } from './async-plane.js';
import { SEED } from './random.js';

export interface Lane {
  readonly name: string;
  /** What the plane has to be: a lane that could fall back would test nothing. */
  readonly planeKind: PlaneKind;
  select(): SelectedPlane;
}

const ALL: readonly Lane[] = [
  { name: 'js', planeKind: 'js', select: () => selectPlane('js') },
  { name: 'js-async', planeKind: 'js', select: () => asyncPlane(selectPlane('js'), SEED) },
];

/** `DERPKIT_LANES`, a comma list, picks some. */
export const LANES: readonly Lane[] = process.env.DERPKIT_LANES
  ? process.env.DERPKIT_LANES.split(',').map((name) => ALL.find((lane) => lane.name === name) ?? unknown(name))
  : ALL;

function unknown(name: string): never {
  throw new Error(`there is no lane ${name}; there are ${ALL.map((lane) => lane.name).join(', ')}`);
}
