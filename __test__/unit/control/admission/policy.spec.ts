import { describe, expect, it } from 'vitest';
import type { Desk, Verdict } from '../../../../src/control/admission/desk.js';
import { consult, type Outcome, type Policy } from '../../../../src/control/admission/policy.js';

const ALLOWED: Verdict = { kind: 'allowed', how: 'asked' };
const FAILED_OPEN: Verdict = { kind: 'allowed', how: 'fail open', failure: 'no answer' };
const refused = (reason: string): Verdict => ({ kind: 'denied', reason });

/** Asks desks with these answers; `local:` before the name of one that answers from memory. */
async function asked(policy: Policy, answers: Record<string, Verdict | Promise<Verdict>>) {
  const names: string[] = [];
  const desks = Object.keys(answers).map((name) => ({ name, local: name.startsWith('local:') }) as Desk);
  const outcome = await consult(policy, desks, async ({ name }) => {
    names.push(name);
    return answers[name] as Verdict | Promise<Verdict>;
  });
  return { names, ...short(outcome) };
}

function short(outcome: Outcome) {
  if (outcome.kind === 'refused') return { refused: outcome.by, reason: outcome.reason, desk: outcome.desk?.name };
  const { by, failures } = outcome;
  return {
    [outcome.kind]: by.map(({ name }) => name),
    failures: failures.map(({ desk, how, reason }) => `${desk.name}: ${how}: ${reason}`),
  };
}

describe('policy all', () => {
  it('under policy all, verifiers are asked one after the other', async () => {
    expect(await asked('all', { a: ALLOWED, b: ALLOWED })).toEqual({
      names: ['a', 'b'],
      allowed: ['a', 'b'],
      failures: [],
    });
  });

  it('under policy all, the first refusal decides, and the next verifier is not asked', async () => {
    expect(await asked('all', { a: ALLOWED, b: refused('no'), c: ALLOWED })).toEqual({
      names: ['a', 'b'],
      refused: 'b',
      reason: 'no',
      desk: 'b',
    });
  });

  it('under policy all, tolerated failures are reported', async () => {
    expect(await asked('all', { a: FAILED_OPEN, b: ALLOWED, c: FAILED_OPEN })).toMatchObject({
      allowed: ['a', 'b', 'c'],
      failures: ['a: fail open: no answer', 'c: fail open: no answer'],
    });
  });
});

describe('policy any', () => {
  const never = new Promise<Verdict>(() => {});

  it('under policy any, verifiers that answer from memory come first, and one admission is enough', async () => {
    expect(await asked('any', { a: never, 'local:b': ALLOWED })).toEqual({
      names: ['local:b'],
      allowed: ['local:b'],
      failures: [],
    });
  });

  it('under policy any, the other verifiers are asked at once, and the first admission decides', async () => {
    expect(await asked('any', { a: never, b: refused('no'), c: ALLOWED, 'local:d': refused('unknown') })).toEqual({
      names: ['local:d', 'a', 'b', 'c'],
      allowed: ['c'],
      failures: [],
    });
  });

  it('under policy any, a tolerated failure is reported', async () => {
    expect(await asked('any', { a: FAILED_OPEN })).toMatchObject({ failures: ['a: fail open: no answer'] });
  });

  it('under policy any, a single refusal is reported with its reason', async () => {
    expect(await asked('any', { a: refused('no') })).toMatchObject({ refused: 'a', reason: 'no', desk: 'a' });
  });

  it('under policy any, several refusals are reported with their reasons', async () => {
    expect(await asked('any', { a: refused('no'), 'local:b': refused('unknown') })).toMatchObject({
      refused: 'all verifiers',
      reason: 'local:b: unknown; a: no',
      desk: 'local:b',
    });
  });

  it('under policy any, no verifier means a refusal', async () => {
    expect(await asked('any', {})).toMatchObject({ refused: 'all verifiers', reason: '', desk: undefined });
  });

  it('under policy any, a client that left is not refused', async () => {
    await expect(
      consult('any', [{ name: 'a', local: false } as Desk], () => Promise.reject(new Error('gone'))),
    ).rejects.toThrow('gone');
  });
});
