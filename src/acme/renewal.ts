/** When a certificate is to be renewed: as its CA says (RFC 9773), else by its lifetime. Pure. */
import type { X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { AuthorityKeyIdentifier, Certificate, id_ce_authorityKeyIdentifier } from '@peculiar/asn1-x509';
import { base64url } from './jws.js';
import { retryAt } from './problem.js';
import type { Answer } from './transport.js';

const HOUR = 60 * 60 * 1000;
const DAY = 24 * HOUR;
/** How often a CA is asked, whatever it says itself (RFC 9773 §4.3.1). */
const ASK = { least: 60_000, most: DAY, otherwise: 6 * HOUR };
/** How long before the end a certificate is renewed at the most. */
const EARLIEST = 30 * DAY;

export interface Lifetime {
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly until: number;
}

export function lifetimeOf({ validFrom, validTo }: X509Certificate): Lifetime {
  return { from: Date.parse(validFrom), until: Date.parse(validTo) };
}

/** A third of the lifetime before its end, 30 days at the most; up to a tenth of that later, an hour at the most. */
export function renewalTime({ from, until }: Lifetime, random: () => number): number {
  const margin = Math.min((until - from) / 3, EARLIEST);
  return until - margin + random() * Math.min(margin / 10, HOUR);
}

/** ARI's name of a certificate; `undefined` if it does not say whose key it was signed by. */
export function certificateId({ raw }: Pick<X509Certificate, 'raw'>): string | undefined {
  const { tbsCertificate } = AsnConvert.parse(raw, Certificate);
  const found = tbsCertificate.extensions?.find(({ extnID }) => extnID === id_ce_authorityKeyIdentifier);
  const { keyIdentifier } = found ? AsnConvert.parse(found.extnValue, AuthorityKeyIdentifier) : {};
  if (!keyIdentifier) return undefined;
  return `${base64url(new Uint8Array(keyIdentifier.buffer))}.${base64url(new Uint8Array(tbsCertificate.serialNumber))}`;
}

export interface Suggestion {
  /** A moment in the CA's window, milliseconds since the epoch. */
  readonly at: number;
  /** When to ask again. */
  readonly askAt: number;
  /** Where the CA explains itself, if it does. */
  readonly explanation: string | undefined;
}

/** What a CA says of when to renew; `moment` is where in its window, 0 to 1. `undefined` where it cannot be understood. */
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
