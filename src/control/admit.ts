import { timingSafeEqual } from 'node:crypto';
import type { Admission, Login } from '../plane/plane.js';

/** Decides whether, and with what rights, a client that has proven its key is let in; `null` refuses it. */
export type Admit = (login: Login) => Admission | null;

/**
 * Lets everyone in but clients of some apps, and holders of the mesh key as mesh peers. A wrong mesh key makes an ordinary
 * client.
 */
export function openAdmission(meshKey: string | undefined, disallowedApps: readonly string[] = []): Admit {
  const own = meshKey === undefined || /^0*$/.test(meshKey) ? undefined : Buffer.from(meshKey, 'hex');
  return ({ info }) => {
    const theirs = Buffer.from(info.meshKey ?? '', 'hex');
    const mesh = own !== undefined && theirs.length === own.length && timingSafeEqual(theirs, own);
    // An empty entry is an app without a name. Mesh peers are whoever has the key.
    if (!mesh && disallowedApps.includes(info.appName)) return null;
    return { mesh, receiveLimit: null };
  };
}
