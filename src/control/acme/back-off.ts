/** How long to wait after a failure, so that the relay does not ask a refusing CA in a loop. */

const MINUTE = 60 * 1000;

/** All times are milliseconds. */
export interface BackOffTimes {
  readonly first: number;
  readonly most: number;
  /** The longest delay that a CA may ask for. */
  readonly mostAsked: number;
}

export const BACK_OFF: BackOffTimes = { first: MINUTE, most: 3 * 60 * MINUTE, mostAsked: 24 * 60 * MINUTE };

/**
 * The time of the next attempt: the delay triples with each failure in a row, plus up to a fifth at random, and is
 * never shorter than the CA asks.
 */
export function nextAttempt(
  { first, most, mostAsked }: BackOffTimes,
  failures: number,
  now: number,
  retryAt: number | undefined,
  random: () => number,
): number {
  const pause = Math.min(first * 3 ** (failures - 1), most) * (1 + random() / 5);
  return Math.max(now + pause, Math.min(retryAt ?? 0, now + mostAsked));
}
