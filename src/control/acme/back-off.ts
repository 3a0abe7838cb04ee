/** How long to wait after a failure: a CA that refuses is not asked in a loop. */

const MINUTE = 60 * 1000;

/** In milliseconds. */
export interface BackOffTimes {
  readonly first: number;
  readonly most: number;
  /** How far a CA may put the next attempt off. */
  readonly mostAsked: number;
}

export const BACK_OFF: BackOffTimes = { first: MINUTE, most: 3 * 60 * MINUTE, mostAsked: 24 * 60 * MINUTE };

/** Tripled with every failure in a row, with up to a fifth more; never before the CA wants to be asked again. */
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
