/** When to renew a certificate: as its CA suggests (RFC 9773), else by its lifetime. Pure. */
import type { X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { AuthorityKeyIdentifier, Certificate, id_ce_authorityKeyIdentifier } from '@peculiar/asn1-x509';
import { base64url } from './jws.js';
import { retryAt } from './problem.js';
import type { Answer } from './transport.js';

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;
/** Bounds of the interval between two polls of a CA, whatever it asks for (RFC 9773 §4.3.1). */
const ASK = { least: 60_000, most: DAY, otherwise: 6 * HOUR };
/** A certificate is renewed at most this long before it expires. */
const EARLIEST = 30 * DAY;

export interface Lifetime {
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly until: number;
}

export function lifetimeOf({ validFrom, validTo }: X509Certificate): Lifetime {
  return { from: Date.parse(validFrom), until: Date.parse(validTo) };
}

/**
 * When to renew a certificate without a suggestion: a third of its lifetime before it expires, at most 30 days, plus a
 * random delay of up to a tenth of that, at most an hour.
 */
export function renewalTime({ from, until }: Lifetime, random: () => number): number {
  const margin = Math.min((until - from) / 3, EARLIEST);
  return until - margin + random() * Math.min(margin / 10, HOUR);
}

/** ARI's name of a certificate; `undefined` if the certificate does not name its issuer's key. */
export function certificateId({ raw }: Pick<X509Certificate, 'raw'>): string | undefined {
  const { tbsCertificate } = AsnConvert.parse(raw, Certificate);
  const found = tbsCertificate.extensions?.find(({ extnID }) => extnID === id_ce_authorityKeyIdentifier);
  const { keyIdentifier } = found ? AsnConvert.parse(found.extnValue, AuthorityKeyIdentifier) : {};
  if (!keyIdentifier) return undefined;
  return `${base64url(new Uint8Array(keyIdentifier.buffer))}.${base64url(new Uint8Array(tbsCertificate.serialNumber))}`;
}

export interface Suggestion {
  /** A moment in the CA's window, in milliseconds since the epoch. */
  readonly at: number;
  /** When to poll again. */
  readonly askAt: number;
  /** The URL of the CA's explanation, if it gives one. */
  readonly explanation: string | undefined;
}

/**
 * Reads a CA's renewal information. `moment` is the position in the CA's window, 0 to 1. `undefined` if it is
 * malformed.
 */
export function suggestionOf(answer: Answer, now: number, moment: number): Suggestion | undefined {
  let page: { suggestedWindow?: { start?: unknown; end?: unknown }; explanationURL?: unknown };
  try {
    page = JSON.parse(answer.body) ?? {};
  } catch {
    return undefined;
  }
  const [start, end] = [page.suggestedWindow?.start, page.suggestedWindow?.end].map((at) => Date.parse(String(at)));
  if (start === undefined || end === undefined || !(start < end)) return undefined;
  const asked = (retryAt(answer, now) ?? now + ASK.otherwise) - now;
  const { explanationURL: explanation } = page;
  return {
    at: start + moment * (end - start),
    askAt: now + Math.min(Math.max(asked, ASK.least), ASK.most),
    explanation: typeof explanation === 'string' ? explanation : undefined,
  };
}
