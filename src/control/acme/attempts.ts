/**
 * What the last orders of a certificate have come to, as text in a file: a relay that starts again and again does not order
 * each time. Go's autocert does not look at such a file.
 */

/** An order that brought no certificate, or that is under way. */
export interface Attempt {
  /** Orders in a row that brought none, this one included. */
  readonly failures: number;
  /** No other order is made before this moment, in milliseconds since the epoch. */
  readonly next: number;
  /** Why the order failed; empty while it is in progress, and for one that was never finished. */
  readonly trouble: string;
}

/** So many failures in a row are as good as more of them. */
const MOST_FAILURES = 100;
const MOST_TROUBLE = 2000;
/** A file that is longer was not written by us. */
const MOST_LENGTH = 16 << 10;

/** `directory` is the URL of the authority's directory: what one authority has refused, another one may not. */
export function formatAttempt(directory: string, { failures, next, trouble }: Attempt): string {
  const text = trouble.slice(0, MOST_TROUBLE);
  return `${JSON.stringify({ directory, failures: Math.min(failures, MOST_FAILURES), next, trouble: text })}\n`;
}

/** `undefined` for what is about another authority, and for what we have not written. `latest` bounds `next`. */
export function parseAttempt(text: string, directory: string, latest: number): Attempt | undefined {
  if (text.length > MOST_LENGTH) return undefined;
  let found: Partial<Record<string, unknown>>;
  try {
    found = Object(JSON.parse(text));
  } catch {
    return undefined;
  }
  const { failures, next, trouble } = found;
  if (found.directory !== directory || typeof trouble !== 'string') return undefined;
  if (!Number.isInteger(failures) || !Number.isFinite(next)) return undefined;
  // A clock may have been ahead.
  const moment = Math.min(next as number, latest);
  return { failures: Math.min(Math.max(failures as number, 1), MOST_FAILURES), next: moment, trouble };
}
