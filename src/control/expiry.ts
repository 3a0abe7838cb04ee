/** How certificates stand, and when their end is worth a line in the log. */
import { X509Certificate } from 'node:crypto';
import type { ServerCertificate } from './certificates.js';

const DAY = 24 * 60 * 60 * 1000;
/** Before the end; of a short lifetime a third, if that is less. */
const WARNINGS = [14 * DAY, 3 * DAY];

/** What operators see of a certificate, or of a name that has none yet. */
export interface CertificateState {
  /** The names and addresses that it is for. */
  readonly names: readonly string[];
  readonly issuer: string;
  /** Milliseconds since the epoch; 0 where there is no certificate. */
  readonly from: number;
  readonly until: number;
  /** How the relay came by it. */
  readonly origin: string;
  /** What happens to it next. */
  readonly next: string;
  /** Why the last attempt to get another one has failed; empty if it has not. */
  readonly trouble: string;
  /** Failures in a row; `undefined` where nothing is tried. */
  readonly failures: number | undefined;
}

/** What a leaf says of itself. */
export function leafState({ chain, validFor }: ServerCertificate) {
  const { issuer, validFrom, validTo } = new X509Certificate(chain[0] as Uint8Array);
  return {
    names: validFor,
    issuer: issuer.replaceAll('\n', ', '),
    from: Date.parse(validFrom),
    until: Date.parse(validTo),
  };
}

/** Tells of each certificate that runs out, once for each time before its end that is worth it. */
export class ExpiryWarnings {
  private readonly told = new Set<string>();

  /** Lines for the log. */
  lines(states: readonly CertificateState[], now: number): string[] {
    return states.flatMap(({ names, from, until, trouble, failures }) => {
      // What renews itself is due at a third of its lifetime, and worth a line only if that fails.
      if (until === 0 || (failures !== undefined && trouble === '')) return [];
      // That it has run out is said elsewhere, of what does not renew itself.
      if (failures === undefined && now > until) return [];
      const passed = WARNINGS.filter((before) => now >= until - Math.min(before, (until - from) / 3));
      const key = `${names.join()} ${until} ${passed.length}`;
      if (passed.length === 0 || this.told.has(key)) return [];
      this.told.add(key);
      const end = new Date(until).toISOString();
      return [now > until ? `it has run out, on ${end}` : `it runs out on ${end}`].map(
        (what) => `the certificate for ${names.join(', ')}: ${what}${trouble && `, and cannot be renewed: ${trouble}`}`,
      );
    });
  }
}
