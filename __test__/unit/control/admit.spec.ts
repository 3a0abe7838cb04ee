import { describe, expect, it } from 'vitest';
import { openAdmission } from '../../../src/control/admit.js';
import type { Login } from '../../../src/plane/plane.js';
import { keyOf } from '../plane/context.js';

const OWN = 'a6330f13c04111c202f37f95a9e564e5bfac8d0b9e4a3f6fa60a386823e4e36e';
const OTHER = `${OWN.slice(0, -1)}f`;
const ZERO = '0'.repeat(64);

describe('openAdmission', () => {
  it.each([
    ['its own key', OWN, OWN, true],
    ['another key', OWN, OTHER, false],
    ['a key that differs at its front', OWN, `b${OWN.slice(1)}`, false],
    ['no key', OWN, undefined, false],
    ['a key where the relay has none', undefined, OWN, false],
    ['no key where the relay has none', undefined, undefined, false],
    ['a zero key', OWN, ZERO, false],
    ['a zero key where the relay has none', undefined, ZERO, false],
    ['a zero key where the relay’s is zero too', ZERO, ZERO, false],
    ['another key where the relay’s is zero', ZERO, OWN, false],
  ])('every client is admitted with %s', (_name, own, presented, mesh) => {
    expect(openAdmission(own, [])(login(presented))).toEqual({ mesh, receiveLimit: null });
  });

  it('probers and named apps get no rights', () => {
    const admission = openAdmission(OWN, [])(login(undefined, { isProber: true, appName: 'app' }));
    expect(admission).toEqual({ mesh: false, receiveLimit: null });
  });

  it.each<[string, boolean, Parameters<typeof login>]>([
    ['of an app that is not allowed', false, [undefined, { appName: 'app' }]],
    ['of another app', true, [undefined, { appName: 'another' }]],
    ['without an app name', true, [undefined]],
    ['of an app that is not allowed, with the mesh key', true, [OWN, { appName: 'app' }]],
    ['of an app that is not allowed, with another mesh key', false, [OTHER, { appName: 'app' }]],
  ])('where an app is not allowed, a client is admitted or refused: %s', (_what, isAdmitted, those) => {
    expect(openAdmission(OWN, ['x', 'app'])(login(...those)) !== null).toBe(isAdmitted);
  });

  it('an empty name stands for clients without an app name', () => {
    const admit = openAdmission(undefined, ['']);
    expect(admit(login(undefined))).toBeNull();
    expect(admit(login(undefined, { appName: 'app' }))).not.toBeNull();
  });
});

function login(meshKey: string | undefined, more: Partial<Login['info']> = {}): Login {
  const info = { version: 2, meshKey, canAckPings: true, isProber: false, appName: '', ...more };
  return { id: 1, key: keyOf(1), info, peer: { address: '', port: 0 }, tlsVersion: null, notIdeal: false };
}
