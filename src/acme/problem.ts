/** What a certificate authority says is wrong (RFC 8555 §6.7). */
import type { Answer } from './transport.js';

const PREFIX = 'urn:ietf:params:acme:error:';
/** Longer texts of a CA are cut: they go to the log. */
const MOST_TEXT = 500;

export interface Problem {
  readonly type?: unknown;
  readonly detail?: unknown;
  readonly subproblems?: unknown;
}

export class AcmeError extends Error {
  override name = 'AcmeError';

  constructor(
    /** Such as `rateLimited`; empty if the CA gives none. */
    readonly type: string,
    message: string,
    /** When the CA wants to be asked again, in milliseconds since the epoch. */
    readonly retryAt?: number,
  ) {
    super(message);
  }
}

/** The error that a problem document is; `what` was asked for. */
export function acmeError(what: string, problem: Problem | undefined, retryAt?: number): AcmeError {
  const type = typeof problem?.type === 'string' ? problem.type.replace(PREFIX, '') : '';
  return new AcmeError(plain(type), `${what}: ${plain(textOf(problem))}`, retryAt);
}

/** An answer with a status that was not expected. */
export function refusal(what: string, answer: Answer, now: number): AcmeError {
  let problem: Problem | undefined;
  try {
    problem = JSON.parse(answer.body) ?? undefined;
  } catch {
    // Something between the CA and us has answered; its page helps nobody.
  }
  const fallback = { detail: `HTTP status ${answer.status}` };
  const known = typeof problem?.type === 'string' || typeof problem?.detail === 'string';
  return acmeError(what, known ? problem : fallback, retryAt(answer, now));
}

/** `Retry-After`, a number of seconds or a date. */
export function retryAt({ headers }: Pick<Answer, 'headers'>, now: number): number | undefined {
  const value = headers['retry-after'];
  if (typeof value !== 'string') return undefined;
  const at = /^\d+$/.test(value) ? now + Number(value) * 1000 : Date.parse(value);
  return Number.isFinite(at) ? at : undefined;
}

function textOf(problem: Problem | undefined): string {
  const { detail, type, subproblems } = problem ?? {};
  const own = typeof detail === 'string' ? detail : typeof type === 'string' ? type : 'no reason given';
  const parts = Array.isArray(subproblems) ? subproblems.slice(0, 3).map(textOf) : [];
  return [own, ...parts.filter((part) => !own.includes(part))].join('; ');
}

/** On one line, without control characters, and not too long. */
function plain(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
  return line.length > MOST_TEXT ? `${line.slice(0, MOST_TEXT)}…` : line;
}
