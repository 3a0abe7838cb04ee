/** Metrics of certificates: when each one expires, and whether its renewal works. Pure. */
import { type Entry, labels } from './exposition.js';

export interface CertificateFigures {
  readonly name: string;
  /** Seconds since 1970; 0 if there is no certificate yet. */
  readonly notAfter: number;
  /** Failed renewals, or looks at its files, in a row; `undefined` for a certificate that is neither renewed nor read again. */
  readonly failures: number | undefined;
}

export function certificateMetrics(figures: readonly CertificateFigures[]): Entry[] {
  const rows = (of: (figure: CertificateFigures) => number | undefined) =>
    figures.flatMap((figure): [string, number][] => {
      const value = of(figure);
      return value === undefined ? [] : [[figure.name, value]];
    });
  const ends = rows(({ notAfter }) => (notAfter > 0 ? notAfter : undefined));
  const failures = rows((figure) => figure.failures);
  const entries: Entry[] = [];
  if (ends.length > 0) {
    const help = 'When the certificate for a name expires, in seconds since 1970.';
    entries.push(['gauge_derpkit_certificate_not_after_seconds', labels('name', Object.fromEntries(ends)), help]);
  }
  if (failures.length > 0) {
    const help = 'Failed renewals in a row of the certificate for a name.';
    entries.push(['gauge_derpkit_certificate_failures', labels('name', Object.fromEntries(failures)), help]);
  }
  return entries;
}
