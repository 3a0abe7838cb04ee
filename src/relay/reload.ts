/** Reads again what a relay has read from files; of what cannot be used, that from before holds. */
import type { Settings } from '../config.js';
import type { RateLimit } from '../control/rate-config.js';
import { reasonOf } from '../errors.js';
import { loadRate } from './materials.js';

export interface Reloadable {
  limit(rate: RateLimit): void;
  reloadAdmission(): Promise<void>;
  readonly certificates: { reload(): Promise<void> };
}

/** Rejects with what is wrong with each part that cannot be used; the other parts are in force. */
export async function reloadFiles(settings: Settings, relay: Reloadable): Promise<void> {
  const rate = loadRate(settings).then((read) => read && relay.limit(read));
  const outcomes = await Promise.allSettled([rate, relay.reloadAdmission(), relay.certificates.reload()]);
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [reasonOf(outcome.reason)] : []));
  if (failures.length > 0) throw new Error(failures.join('; '));
}
