import { type Desk, OUTCOMES, TIME_BOUNDS } from './desk.js';

/** What admission has done, for metrics. */
export interface AdmissionFigures {
  /** How often each verifier came to each outcome. */
  readonly outcomes: readonly { readonly of: readonly [verifier: string, outcome: string]; readonly value: number }[];
  /** Seconds that answers took, of all verifiers. */
  readonly times: { readonly bounds: readonly number[]; readonly counts: readonly number[]; readonly sum: number };
}

/** `others` decide without being asked: lists of who is denied, the embedder's hook. */
export function figuresOf(
  desks: readonly Desk[],
  others: ReadonlyMap<string, Readonly<Partial<Record<(typeof OUTCOMES)[number], number>>>>,
): AdmissionFigures {
  const rows = [...desks.map(({ name, counts }) => [name, counts] as const), ...others];
  return {
    outcomes: rows.flatMap(([name, counts]) =>
      OUTCOMES.map((outcome) => ({ of: [name, outcome] as const, value: counts[outcome] ?? 0 })),
    ),
    times: {
      bounds: TIME_BOUNDS,
      counts: [...TIME_BOUNDS, 'more'].map((_, slot) =>
        desks.reduce((sum, { times }) => sum + (times.counts[slot] ?? 0), 0),
      ),
      sum: desks.reduce((sum, { times }) => sum + times.sum, 0),
    },
  };
}
