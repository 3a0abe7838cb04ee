/** Whether a relay serves, and what keeps it from that, in words. */
import { isAcmeMode, type Settings } from '../config.js';
import type { DataPath } from '../control/data-path.js';
import type { CertificateState } from '../control/expiry.js';

export interface ReadinessParts {
  readonly settings: Pick<Settings, 'certMode' | 'acme'>;
  readonly certificates: { states(): readonly CertificateState[] };
  /** Whether the relay serves on for a while, before it closes. */
  readonly isDraining: () => boolean;
  /** Absent if the relay forwards no packets. */
  readonly dataPath: Pick<DataPath, 'trouble'> | undefined;
}

export class Readiness {
  /** `open`: all listeners are. */
  phase: 'starting' | 'open' | 'closing' = 'starting';
  /** Why the plane has failed for good. */
  failure: string | undefined;

  constructor(private readonly parts: ReadinessParts) {}

  /** Empty if the relay serves. */
  reasons(now = Date.now()): string[] {
    if (this.phase !== 'open') return [`the relay is ${this.phase}`];
    if (this.parts.isDraining()) return ['the relay is draining'];
    if (this.failure !== undefined) return [`the data plane has failed: ${this.failure}`];
    const packets = this.parts.dataPath?.trouble();
    return [...this.certificates(now), ...(packets === undefined ? [] : [packets])];
  }

  /** One valid certificate suffices. None is needed where the first client of a name brings it about. */
  private certificates(now: number): string[] {
    const { settings, certificates } = this.parts;
    const { certMode, acme } = settings;
    if (certMode === 'off') return [];
    const states = certificates.states();
    if (states.some(({ from, until }) => from <= now && now < until)) return [];
    const waits = states.every(({ until, trouble }) => until === 0 && trouble === '');
    if (waits && isAcmeMode(certMode) && !acme.atStart) return [];
    if (states.length === 0) return ['there is no certificate'];
    return states.map((state) => `the certificate for ${state.names.join(', ')}: ${faultOf(state, now)}`);
  }
}

function faultOf({ from, until, trouble }: CertificateState, now: number): string {
  const date = (time: number) => new Date(time).toISOString();
  const what =
    until === 0
      ? 'there is none yet'
      : now < from
        ? `it is not valid before ${date(from)}`
        : `it has expired on ${date(until)}`;
  return trouble === '' ? what : `${what}: ${trouble}`;
}
