/** Combines the answers of several verifiers. */
import type { Desk, Verdict } from './desk.js';

export type Policy = 'any' | 'all';

type Allowed = Extract<Verdict, { kind: 'allowed' }>;

/** Asks one verifier. Rejects when the client has left. */
export type AskDesk = (desk: Desk) => Promise<Verdict>;

export type Outcome =
  /** `by`: the verifiers that admitted the client. */
  | { readonly kind: 'allowed'; readonly by: readonly Desk[]; readonly failures: readonly Failure[] }
  | { readonly kind: 'refused'; readonly by: string; readonly desk?: Desk; readonly reason: string };

/** A verifier that failed, although the client was admitted. */
export interface Failure {
  readonly desk: Desk;
  readonly how: string;
  readonly reason: string;
}

export function consult(policy: Policy, desks: readonly Desk[], ask: AskDesk): Promise<Outcome> {
  return policy === 'all' ? all(desks, ask) : any(desks, ask);
}

/** One after the other, as derper does: a verifier is not told about a client that one before it refused. */
async function all(desks: readonly Desk[], ask: AskDesk): Promise<Outcome> {
  const failures: Failure[] = [];
  for (const desk of desks) {
    const verdict = await ask(desk);
    if (verdict.kind !== 'allowed') return refused(desk, verdict.reason);
    failures.push(...failureOf(desk, verdict));
  }
  return { kind: 'allowed', by: desks, failures };
}

/** First those that answer from memory, then all others at once. The first that admits the client decides. */
async function any(desks: readonly Desk[], ask: AskDesk): Promise<Outcome> {
  const refusals: { desk: Desk; verdict: Verdict & { reason: string } }[] = [];
  const allowedBy = async (asked: readonly Desk[]): Promise<Outcome | undefined> => {
    let allowed: Outcome | undefined;
    let left = asked.length;
    return new Promise((resolve, reject) => {
      if (left === 0) resolve(undefined);
      for (const desk of asked) {
        ask(desk).then((verdict) => {
          left -= 1;
          if (verdict.kind === 'allowed') {
            allowed ??= { kind: 'allowed', by: [desk], failures: failureOf(desk, verdict) };
            resolve(allowed);
          } else {
            refusals.push({ desk, verdict });
          }
          if (left === 0) resolve(allowed);
        }, reject);
      }
    });
  };
  const allowed =
    (await allowedBy(desks.filter(({ local }) => local))) ?? (await allowedBy(desks.filter(({ local }) => !local)));
  if (allowed) return allowed;
  const [first] = refusals;
  if (refusals.length === 1 && first) return refused(first.desk, first.verdict.reason);
  const reason = refusals.map(({ desk, verdict }) => `${desk.name}: ${verdict.reason}`).join('; ');
  return { kind: 'refused', by: 'all verifiers', ...(first && { desk: first.desk }), reason };
}

function refused(desk: Desk, reason: string): Outcome {
  return { kind: 'refused', by: desk.name, desk, reason };
}

function failureOf(desk: Desk, { how, failure }: Allowed): Failure[] {
  return failure === undefined ? [] : [{ desk, how, reason: failure }];
}
