import { type Desk, OUTCOMES, TIME_BOUNDS } from './desk.js';

/** How often one verifier came to one outcome. */
export interface AdmissionOutcome {
  /** The verifier's name, as in logs, and the outcome: `allowed`, `denied`, `error`, `timeout`, `cached` or `kicked`. */
  readonly of: readonly [verifier: string, outcome: string];
  /** How often, since the relay's start. */
  readonly value: number;
}

/** How long answers of verifiers took. */
export interface AdmissionTimes {
  /** Upper bounds in seconds, rising. */
  readonly bounds: readonly number[];
  /** How many answers took at most each bound, and longer than the bound before; the last count is of those beyond all bounds. */
  readonly counts: readonly number[];
  /** Seconds that all answers took together. */
  readonly sum: number;
}

/** What admission has done since the relay's start. */
export interface AdmissionFigures {
  /** One row for each verifier and outcome. */
  readonly outcomes: readonly AdmissionOutcome[];
  /** Times of all verifiers together. */
  readonly times: AdmissionTimes;
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
