/** The settings in which relays of one region should not differ, and which may be shown to operators. */
import { createHash } from 'node:crypto';
import type { Settings } from '../config.js';

/** Settings by name: no secrets, no paths, and nothing that is of one machine. */
export function fleetSettings(settings: Settings): Readonly<Record<string, unknown>> {
  const { hostname, certMode, derp, stun, stunPort, httpPort, listen, logLevel, mesh, limits, admission } = settings;
  const { tcpKeepaliveTime, tcpUserTimeout, senderCardinality } = settings;
  return {
    ...{ hostname, certMode, derp, stun, stunPort, httpPort, port: listen.port, logLevel },
    ...{ tcpKeepaliveTime, tcpUserTimeout, senderCardinality },
    ...{ 'mesh.mode': mesh.mode, 'mesh.idle': mesh.idle, 'mesh.drainDelay': mesh.drainDelay },
    'admission.policy': admission.policy,
    'admission.verifiers': admission.verifiers.length,
    ...Object.fromEntries(Object.entries(limits).map(([name, value]) => [`limits.${name}`, value])),
  };
}

/** A short digest: relays with equal digests have equal settings. */
export function digestOf(settings: Settings): string {
  return createHash('sha256')
    .update(JSON.stringify(fleetSettings(settings)))
    .digest('hex')
    .slice(0, 16);
}
