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
}

/** What a relay asks of its plane. */
export interface PlaneNeeds {
  readonly tls: boolean;
  /** Accept limits or receive limits. */
  readonly limits?: boolean;
}

/** Throws `ERR_NATIVE_UNAVAILABLE` where `native` is demanded and cannot be had. */
export function selectPlane(choice: PlaneChoice, needs: PlaneNeeds): SelectedPlane {
  if (choice !== 'native') {
    const reason = choice === 'js' ? 'it was asked for' : 'the native plane is on trial, and has to be asked for';
    return { kind: 'js', reason, create: createJsPlane };
  }
  if (needs.tls) {
    const message = 'the native plane does not do TLS yet; let the plane be chosen (auto), or serve plain HTTP';
    throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', message);
  }
  if (needs.limits) {
    const message = 'the native plane does not do rate limits yet; let the plane be chosen (auto), or set none';
    throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', message);
  }
  const { path, create } = loadNative();
  return { kind: 'native', reason: path, create };
}
