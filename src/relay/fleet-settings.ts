/** The settings in which relays of one region should not differ, and which may be shown to operators. */
import { createHash } from 'node:crypto';
import type { Settings } from '../config.js';
import type { SettingValue } from '../control/directory/directory.js';
import type { SettingDifference } from '../http/fleet-report.js';

type FleetSettings = Readonly<Record<string, SettingValue>>;

/** Settings by name: no secrets, no paths, and nothing that is of one machine. */
export function fleetSettings(settings: Settings): FleetSettings {
  const { hostname, certMode, derp, stun, stunPort, httpPort, listen, logLevel, mesh, limits, admission } = settings;
  const { tcpKeepaliveTime, tcpUserTimeout, senderCardinality } = settings;
  return {
    ...{ hostname, certMode, derp, stun, stunPort, httpPort, port: listen.port, logLevel },
    ...{ tcpKeepaliveTime, tcpUserTimeout, senderCardinality },
    ...{ 'mesh.mode': mesh.mode, 'mesh.idle': mesh.idle, 'mesh.drainDelay': mesh.drainDelay },
    'admission.policy': admission.policy,
    'admission.verifiers': admission.verifiers.length,
    ...Object.fromEntries(Object.entries(limits).map(([name, value]) => [`limits.${name}`, shownValue(value)])),
  };
}

/** Other relays take values of 256 characters at most. A list may be longer: then its digest tells whether it differs. */
const LONGEST_LIST = 200;

function shownValue(value: number | readonly string[] | undefined): SettingValue {
  if (value === undefined) return null;
  if (typeof value === 'number') return value;
  const text = value.join(', ');
  return text.length > LONGEST_LIST ? `${text.slice(0, LONGEST_LIST)}… (${hashOf(text)})` : text;
}

/** Settings whose values differ. A relay of another version may not have all of them. */
export function differencesOf(here: FleetSettings, there: FleetSettings): SettingDifference[] {
  const names = [...new Set([...Object.keys(here), ...Object.keys(there)])];
  return names.flatMap((name) => {
    const values = {
      ...(name in here && { here: here[name] ?? null }),
      ...(name in there && { there: there[name] ?? null }),
    };
    return values.here === values.there ? [] : [{ name, ...values }];
  });
}

/** A short digest: relays with equal digests have equal settings. */
export function digestOf(settings: Settings): string {
  return hashOf(JSON.stringify(fleetSettings(settings)));
}

function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}
