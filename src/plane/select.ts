/** Chooses the data plane: the one place where its implementations meet. */
import { DerpkitError } from '../errors.js';
import { createJsPlane } from './js/js-plane.js';
import type { PlaneFactory, PlaneKind } from './plane.js';

export type PlaneChoice = 'auto' | PlaneKind;

export interface SelectedPlane {
  readonly kind: PlaneKind;
  /** Why this one: for `derpkit version`, and for the log where `auto` had to fall back. */
  readonly reason: string;
  readonly create: PlaneFactory;
}

const NO_NATIVE = 'this version has no native plane';

/** Throws `ERR_NATIVE_UNAVAILABLE` where `native` is demanded and cannot be had. */
export function selectPlane(choice: PlaneChoice): SelectedPlane {
  if (choice === 'native') {
    throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', `the native plane cannot be used: ${NO_NATIVE}`);
  }
  const reason = choice === 'js' ? 'it was asked for' : NO_NATIVE;
  return { kind: 'js', reason, create: createJsPlane };
}
