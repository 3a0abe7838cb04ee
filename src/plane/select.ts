/** Chooses the data plane: the one place where its implementations meet. */
import { createJsPlane } from './js/js-plane.js';
import { loadNative } from './native.js';

export { notify as notifyNatively } from './native.js';

import type { PlaneFactory, PlaneKind } from './plane.js';

export type PlaneChoice = 'auto' | PlaneKind;

export interface SelectedPlane {
  readonly kind: PlaneKind;
  /** Why this one, for `derpkit version` and the log. */
  readonly reason: string;
  readonly create: PlaneFactory;
  /** The native plane was to be had, and could not be loaded. */
  readonly fallback?: boolean;
  /** What to take instead if this one cannot serve what the settings say. */
  readonly instead?: SelectedPlane;
}

/** Throws `ERR_NATIVE_UNAVAILABLE` where `native` is demanded and cannot be had. */
export function selectPlane(choice: PlaneChoice): SelectedPlane {
  if (choice === 'js') return jsPlane('it was selected');
  try {
    const { path, create } = loadNative();
    const native: SelectedPlane = { kind: 'native', reason: path, create };
    return choice === 'native' ? native : { ...native, instead: jsPlane('the native plane cannot serve this') };
  } catch (error) {
    if (choice === 'native') throw error;
    return { ...jsPlane((error as Error).message), fallback: true };
  }
}

function jsPlane(reason: string): SelectedPlane {
  return { kind: 'js', reason, create: createJsPlane };
}
