/** Errors of a certificate authority (RFC 8555 §6.7). */
import type { Answer } from './transport.js';

const PREFIX = 'urn:ietf:params:acme:error:';
/** Longer texts of a CA are cut, because they go to the log. */
const MOST_TEXT = 500;

export interface Problem {
  readonly type?: unknown;
  readonly detail?: unknown;
  readonly subproblems?: unknown;
}

export class AcmeError extends Error {
  override name = 'AcmeError';

  constructor(
    /** The type of the problem, such as `rateLimited`; empty if the CA names none. */
    readonly type: string,
    message: string,
    /** When the CA accepts the next attempt, in milliseconds since the epoch. */
    readonly retryAt?: number,
  ) {
    super(message);
  }
}

/** Makes an error of a problem document. `what` names the request. */
export function acmeError(what: string, problem: Problem | undefined, retryAt?: number): AcmeError {
  const type = typeof problem?.type === 'string' ? problem.type.replace(PREFIX, '') : '';
  return new AcmeError(plain(type), `${what}: ${plain(textOf(problem))}`, retryAt);
}

/** Makes an error of an answer with an unexpected status. */
export function refusal(what: string, answer: Answer, now: number): AcmeError {
  let problem: Problem | undefined;
  try {
    problem = JSON.parse(answer.body) ?? undefined;
  } catch {
    // The answer comes from something between the CA and the relay; its page says nothing useful.
  }
  const fallback = { detail: `HTTP status ${answer.status}` };
  const known = typeof problem?.type === 'string' || typeof problem?.detail === 'string';
  return acmeError(what, known ? problem : fallback, retryAt(answer, now));
}

/** Reads `Retry-After`, a number of seconds or a date. */
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

/** Puts a text on one line, without control characters, and cuts it. */
function plain(text: string): string {
  const line = text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ');
  return line.length > MOST_TEXT ? `${line.slice(0, MOST_TEXT)}…` : line;
}
