import { type Desk, OUTCOMES, TIME_BOUNDS } from './desk.js';

/** How often a verifier came to an outcome. */
export interface AdmissionOutcome {
  /**
   * The verifier's name, as in the log, and the outcome: `allowed`, `denied`, `error`, `timeout`, `cached` or `kicked`.
   */
  readonly of: readonly [verifier: string, outcome: string];
  /** How often since the relay's start. */
  readonly value: number;
}

/** A histogram of the verifiers' answer times. */
export interface AdmissionTimes {
  /** Upper bounds in seconds, ascending. */
  readonly bounds: readonly number[];
  /** Answers between each bound and the bound before; the last count has answers above all bounds. */
  readonly counts: readonly number[];
  /** Seconds of all answers together. */
  readonly sum: number;
}

/** Figures of admission since the relay's start. */
export interface AdmissionFigures {
  /** One row for each verifier and outcome. */
  readonly outcomes: readonly AdmissionOutcome[];
  /** The answer times of all verifiers together. */
  readonly times: AdmissionTimes;
}

/** Adds the outcomes of `others`, which decide without a verifier: deny lists and the hook. */
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
      counts: Array.from({ length: TIME_BOUNDS.length + 1 }, (_, slot) =>
        desks.reduce((sum, { times }) => sum + (times.counts[slot] ?? 0), 0),
      ),
      sum: desks.reduce((sum, { times }) => sum + times.sum, 0),
    },
  };
}
