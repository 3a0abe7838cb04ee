/** The state of certificates, and warnings before they expire. */
import { X509Certificate } from 'node:crypto';
import type { ServerCertificate } from './certificates.js';

const DAY = 24 * 60 * 60 * 1000;
/** Milliseconds before the expiry at which to warn; for short lifetimes a third of the lifetime, if that is less. */
const WARNINGS = [14 * DAY, 3 * DAY];

/** The state of a certificate, or of a name that has none yet, for operators. */
export interface CertificateState {
  /** The names and addresses that it covers. */
  readonly names: readonly string[];
  readonly issuer: string;
  /** Milliseconds since the epoch; 0 if there is no certificate. */
  readonly from: number;
  readonly until: number;
  /** Where it comes from. */
  readonly origin: string;
  /** The next step, such as its renewal. */
  readonly next: string;
  /** Why the last renewal failed; empty after a success. */
  readonly trouble: string;
  /** Failed renewals in a row; `undefined` if the relay does not renew it. */
  readonly failures: number | undefined;
}

/** The facts in a leaf. */
export function leafState({ chain, validFor }: ServerCertificate) {
  const { issuer, validFrom, validTo } = new X509Certificate(chain[0] as Uint8Array);
  return {
    names: validFor,
    issuer: issuer.replaceAll('\n', ', '),
    from: Date.parse(validFrom),
    until: Date.parse(validTo),
  };
}

/** Warns once at each of some times before a certificate expires. */
export class ExpiryWarnings {
  private readonly told = new Set<string>();

  /** The warnings that are due at `now`. */
  lines(states: readonly CertificateState[], now: number): string[] {
    return states.flatMap(({ names, from, until, trouble, failures }) => {
      // A certificate that the relay renews is due at a third of its lifetime; only a failure is worth a warning.
      if (until === 0 || (failures !== undefined && trouble === '')) return [];
      // Another message reports the expiry of a certificate that the relay does not renew.
      if (failures === undefined && now > until) return [];
      const passed = WARNINGS.filter((before) => now >= until - Math.min(before, (until - from) / 3));
      const key = `${names.join()} ${until} ${passed.length}`;
      if (passed.length === 0 || this.told.has(key)) return [];
      this.told.add(key);
      const end = new Date(until).toISOString();
      return [now > until ? `it expired on ${end}` : `it expires on ${end}`].map(
        (what) => `the certificate for ${names.join(', ')}: ${what}${trouble && `, and cannot be renewed: ${trouble}`}`,
      );
    });
  }
}
