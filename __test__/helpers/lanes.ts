/** What the conformance suite runs over: the same tests, once for every way in which a plane can be had. */
import { loadNative } from '../../src/plane/native.js';
import type { PlaneKind } from '../../src/plane/plane.js';
import { type SelectedPlane, selectPlane } from '../../src/plane/select.js';
import { asyncPlane } from './async-plane.js';
import { SEED } from './random.js';

export interface Lane {
  readonly name: string;
  /** What the plane has to be: a lane that could fall back would test nothing. */
  readonly planeKind: PlaneKind;
  /** What relays speak TLS of, where a test does not say what they are to speak; plain if absent. */
  readonly tls?: 'TLSv1.2' | 'TLSv1.3';
  select(): SelectedPlane;
}

const KNOWN: readonly Lane[] = [
  { name: 'js', planeKind: 'js', select: () => selectPlane('js') },
  { name: 'js-async', planeKind: 'js', select: () => asyncPlane(selectPlane('js'), SEED) },
  { name: 'native', planeKind: 'native', select: () => selectPlane('native') },
  { name: 'native-tls12', planeKind: 'native', tls: 'TLSv1.2', select: () => selectPlane('native') },
  { name: 'native-tls13', planeKind: 'native', tls: 'TLSv1.3', select: () => selectPlane('native') },
];

export function laneNamed(name: string): Lane {
  const lane = KNOWN.find((known) => known.name === name);
  if (!lane) throw new Error(`there is no lane ${name}; there are ${KNOWN.map((known) => known.name).join(', ')}`);
  return lane;
}

/** The lanes of every run. The native plane's is left out where it could not be built, but for CI, which has to. */
const EVERY_RUN = process.env.CI || hasNative() ? 'js,js-async,native' : 'js,js-async';

/** `DERPKIT_LANES`, a comma list, picks others. */
export const LANES: readonly Lane[] = (process.env.DERPKIT_LANES || EVERY_RUN).split(',').map(laneNamed);

/** The same, and the native plane over both versions of TLS: for what clients and frames do, whatever they come over. */
export const LANES_AND_TLS: readonly Lane[] = process.env.DERPKIT_LANES
  ? LANES
  : [...LANES, ...KNOWN.filter(({ tls, planeKind }) => tls && LANES.some((lane) => lane.planeKind === planeKind))];

function hasNative(): boolean {
  try {
    loadNative();
    return true;
  } catch {
    return false;
  }
}

/** Every plane that these lanes have, once. */
export const PLANE_KINDS: readonly PlaneKind[] = [...new Set(LANES.map(({ planeKind }) => planeKind))];
