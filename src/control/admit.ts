import { timingSafeEqual } from 'node:crypto';
import type { Admission, Login } from '../plane/plane.js';

/** Decides what a login alone tells: the rights of the client, or `null` to refuse it. */
export type Admit = (login: Login) => Admission | null;

/**
 * Admits every client except those of some apps. The holder of the mesh key becomes a mesh peer; a client with a wrong
 * mesh key is an ordinary one.
 */
export function openAdmission(meshKey: string | undefined, disallowedApps: readonly string[]): Admit {
  const own = meshKey === undefined || /^0*$/.test(meshKey) ? undefined : Buffer.from(meshKey, 'hex');
  return ({ info }) => {
    const theirs = Buffer.from(info.meshKey ?? '', 'hex');
    const mesh = own !== undefined && theirs.length === own.length && timingSafeEqual(theirs, own);
    // An empty entry stands for clients without an app name. Any holder of the mesh key is a mesh peer.
    if (!mesh && disallowedApps.includes(info.appName)) return null;
    return { mesh, receiveLimit: null };
  };
}
