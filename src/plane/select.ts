/** Selects the data plane. Only this file knows all implementations. */
import { createJsPlane } from './js/js-plane.js';
import { loadNative } from './native.js';

export { notify as notifyNatively } from './native.js';

import type { PlaneFactory, PlaneKind } from './plane.js';

export type PlaneChoice = 'auto' | PlaneKind;

export interface SelectedPlane {
  readonly kind: PlaneKind;
  /** Why this plane was selected, for `derpkit version` and the log. */
  readonly reason: string;
  readonly create: PlaneFactory;
  /** True if the native plane exists for this platform, but could not be loaded. */
  readonly fallback?: boolean;
  /** The plane to use if this one cannot serve the settings. */
  readonly instead?: SelectedPlane;
}

/** Throws `ERR_NATIVE_UNAVAILABLE` if `native` was demanded and cannot be loaded. */
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
