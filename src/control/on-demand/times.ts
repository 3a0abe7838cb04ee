/** Times of keys that are found on demand, in milliseconds; tests use shorter ones. */
export interface OnDemandTimes {
  /** For a whole dial: name, TCP, TLS, HTTP and login. */
  readonly connect: number;
  /** The pause after a failed dial; it doubles up to `longest`. Until it is over, keys of the relay are not reachable. */
  readonly retry: number;
  readonly longest: number;
  /** How long a link without packets stays. */
  readonly idle: number;
  /** How often links are looked at. */
  readonly look: number;
  /** How long a place that its relay has denied is not believed again. */
  readonly refuted: number;
  /** The pause before a key is asked for again whose place is uncertain. */
  readonly again: number;
}

export const ON_DEMAND_TIMES: OnDemandTimes = {
  ...{ connect: 5_000, retry: 250, longest: 10_000 },
  ...{ idle: 300_000, look: 30_000 },
  ...{ refuted: 2_000, again: 5_000 },
};
