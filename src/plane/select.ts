/** Chooses the data plane: the one place where its implementations meet. */
import { DerpkitError } from '../errors.js';
import { createJsPlane } from './js/js-plane.js';
import { loadNative } from './native.js';
import type { PlaneFactory, PlaneKind } from './plane.js';

export type PlaneChoice = 'auto' | PlaneKind;

export interface SelectedPlane {
  readonly kind: PlaneKind;
  /** Why this one, for `derpkit version` and the log. */
  readonly reason: string;
  readonly create: PlaneFactory;
  /** The native plane was to be had, and could not be loaded. */
  readonly fallback?: boolean;
}

/** What a relay asks of its plane. */
export interface PlaneNeeds {
  readonly tls: boolean;
  /** Accept limits or receive limits. */
  readonly limits?: boolean;
}

/** Throws `ERR_NATIVE_UNAVAILABLE` where `native` is demanded and cannot be had. */
export function selectPlane(choice: PlaneChoice, needs: PlaneNeeds): SelectedPlane {
  if (choice === 'js') return jsPlane('it was asked for');
  const lacks = lacking(needs);
  if (choice === 'native') {
    if (lacks) throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', `the native plane does not do ${lacks} yet; use auto`);
    return nativePlane();
  }
  if (lacks) return jsPlane(`the native plane does not do ${lacks} yet`);
  try {
    return nativePlane();
  } catch (error) {
    return { ...jsPlane((error as Error).message), fallback: true };
  }
}

function jsPlane(reason: string): SelectedPlane {
  return { kind: 'js', reason, create: createJsPlane };
}

function nativePlane(): SelectedPlane {
  const { path, create } = loadNative();
  return { kind: 'native', reason: path, create };
}

/** What of the needs the native plane does not meet. */
function lacking({ limits }: PlaneNeeds): string | undefined {
  return limits ? 'rate limits' : undefined;
}
