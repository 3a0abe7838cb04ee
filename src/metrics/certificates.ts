/** Metrics of certificates: when each ends, and whether another one can be got. Pure. */
import { type Entry, labels } from './exposition.js';

export interface CertificateFigures {
  readonly name: string;
  /** Seconds since 1970; 0 where there is none yet. */
  readonly notAfter: number;
  /** Failures in a row to get another one; `undefined` where none is tried to get. */
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
  return [
    ...(ends.length > 0
      ? [['gauge_derpkit_certificate_not_after_seconds', labels('name', Object.fromEntries(ends))] as const]
      : []),
    ...(failures.length > 0
      ? [['gauge_derpkit_certificate_failures', labels('name', Object.fromEntries(failures))] as const]
      : []),
  ];
}
