/** What a relay takes over while it runs: other settings, and other contents of its files. */
import { isDeepStrictEqual } from 'node:util';
import { type RelayConfig, SETTINGS, type Settings } from '../config.js';
import { reasonOf } from '../errors.js';
import type { ReceiveRate } from '../plane/plane.js';
import type { ReloadReport } from './api.js';
import { RelayCertificates } from './certificates.js';
import { loadRate, type Reread, rereadMaterials } from './materials.js';

/** The settings, and groups of settings, that a reload applies. `docs/operating.md` has the same list. */
export const LIVE_SETTINGS: readonly (keyof RelayConfig)[] = [
  ...(['admission', 'disallowAppNames'] as const),
  ...(['certificate', 'certificates'] as const),
  ...(['rateConfig', 'acceptConnectionLimit', 'acceptConnectionBurst'] as const),
  ...(['debugAllowIp', 'debugHint', 'debugHosts', 'debugKeyFile', 'debugLogs', 'debugTrustedCidrs'] as const),
  ...(['logLevel', 'proberDebugLogs', 'verboseDrops'] as const),
];

export interface Reloadable {
  /** Takes other settings over, with what was read for them. Throws, and changes nothing, if the plane refuses a certificate. */
  apply(settings: Settings, reread: Reread): void;
  limit(rate: ReceiveRate | undefined): void;
  reloadAdmission(): Promise<void>;
  reloadToken(): Promise<void>;
  readonly certificates: { reload(): Promise<void> };
}

/** Whether the settings name files that a reload reads again. */
export function hasFiles(settings: Settings): boolean {
  const { verifiers, deny } = settings.admission;
  if (settings.metrics.tokenFile !== undefined) return true;
  const lists =
    deny.keys !== undefined || verifiers.some(({ keys, headersFile }) => (keys ?? headersFile) !== undefined);
  return settings.rateConfig !== undefined || lists || RelayCertificates.canReload(settings);
}

/** Settings in force, and which of the wanted ones differ from those before. */
export interface Changes extends ReloadReport {
  readonly settings: Settings;
}

/** Takes of the wanted settings what can be applied, and names what differs. */
export function changesOf(before: Settings, wanted: Settings): Changes {
  const names = [...SETTINGS.map(({ name }) => name), 'certificate'];
  const differs = names.filter((name) => !isDeepStrictEqual(settingIn(before, name), settingIn(wanted, name)));
  const live = Object.fromEntries(LIVE_SETTINGS.map((name) => [name, wanted[name as keyof Settings]]));
  return {
    settings: { ...before, ...live } as Settings,
    applied: differs.filter(isLive),
    needRestart: differs.filter((name) => !isLive(name)),
  };
}

/**
 * Reads settings and files again. Rejects with a `ConfigError`, and changes nothing, if the settings cannot be used. Rejects
 * with what is wrong with each file of unchanged settings that cannot be used; everything else is in force then. `inForce` is
 * called in between.
 */
export async function reload(changes: Changes, relay: Reloadable, inForce: () => void): Promise<void> {
  const { settings, applied } = changes;
  const has = (...groups: readonly string[]) =>
    applied.some((name) => groups.includes(name.split('.', 1)[0] as string));
  const changed = { admission: has('admission', 'disallowAppNames'), certificates: has('certificate', 'certificates') };
  const reread = await rereadMaterials(settings, changed);
  relay.apply(settings, reread);
  inForce();
  const outcomes = await Promise.allSettled([
    changed.admission ? undefined : relay.reloadAdmission(),
    changed.certificates ? undefined : relay.certificates.reload(),
    relay.reloadToken(),
  ]);
  throwAll(outcomes);
}

/** Reads the files again. Rejects with what is wrong with each part that cannot be used; the other parts are in force. */
export async function reloadFiles(settings: Settings, relay: Reloadable): Promise<void> {
  const rate = loadRate(settings).then(
    (read) => relay.limit(read),
    (error) => {
      throw new Error(`${settings.rateConfig}: ${reasonOf(error)}`);
    },
  );
  throwAll(await Promise.allSettled([rate, relay.reloadAdmission(), relay.certificates.reload(), relay.reloadToken()]));
}

/** Throws one Error of all failures, if there are any. */
export function throwAll(outcomes: readonly PromiseSettledResult<unknown>[]): void {
  const failures = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [reasonOf(outcome.reason)] : []));
  if (failures.length > 0) throw new Error(failures.join('; '));
}

function isLive(name: string): boolean {
  return (LIVE_SETTINGS as readonly string[]).includes(name.split('.', 1)[0] as string);
}

function settingIn(settings: Settings, name: string): unknown {
  return name.split('.').reduce<unknown>((at, part) => (at as Record<string, unknown> | undefined)?.[part], settings);
}
