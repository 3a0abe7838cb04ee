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
  /** Whether the relay orders its successor. */
  readonly renewed: boolean;
  /** Why the last renewal failed, or the last look at its files; empty after a success. */
  readonly trouble: string;
  /** Failures of that in a row; `undefined` for a certificate that is neither renewed nor read again. */
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
    return states.flatMap(({ names, from, until, renewed, trouble }) => {
      // A certificate that the relay renews is due at a third of its lifetime; only a failure is worth a warning.
      if (until === 0 || (renewed && trouble === '')) return [];
      // Another message reports the expiry of a certificate that the relay does not renew.
      if (!renewed && now > until) return [];
      const passed = WARNINGS.filter((before) => now >= until - Math.min(before, (until - from) / 3));
      const key = `${names.join()} ${until} ${passed.length}`;
      if (passed.length === 0 || this.told.has(key)) return [];
      this.told.add(key);
      const end = new Date(until).toISOString();
      const what = now > until ? `it expired on ${end}` : `it expires on ${end}`;
      const why = trouble && `, and ${renewed ? 'it cannot be renewed' : 'its files cannot be used'}: ${trouble}`;
      return [`the certificate for ${names.join(', ')}: ${what}${why}`];
    });
  }
}
