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
    allowed: by.map(({ name }) => name),
    failures: failures.map(({ desk, how, reason }) => `${desk.name}: ${how}: ${reason}`),
  };
}

describe('where all verifiers have to allow a client', () => {
  it('they are asked one after the other', async () => {
    expect(await asked('all', { a: ALLOWED, b: ALLOWED })).toEqual({
      names: ['a', 'b'],
      allowed: ['a', 'b'],
      failures: [],
    });
  });

  it('one that refuses decides, and the next is not asked', async () => {
    expect(await asked('all', { a: ALLOWED, b: refused('no'), c: ALLOWED })).toEqual({
      names: ['a', 'b'],
      refused: 'b',
      reason: 'no',
      desk: 'b',
    });
  });

  it('failures that were let pass are told of', async () => {
    expect(await asked('all', { a: FAILED_OPEN, b: ALLOWED, c: FAILED_OPEN })).toMatchObject({
      allowed: ['a', 'b', 'c'],
      failures: ['a: fail open: no answer', 'c: fail open: no answer'],
    });
  });
});

describe('where any verifier may allow a client', () => {
  const never = new Promise<Verdict>(() => {});

  it('those that answer from memory are asked first, and alone if one allows', async () => {
    expect(await asked('any', { a: never, 'local:b': ALLOWED })).toEqual({
      names: ['local:b'],
      allowed: ['local:b'],
      failures: [],
    });
  });

  it('the others are asked at once, and the first that allows decides', async () => {
    expect(await asked('any', { a: never, b: refused('no'), c: ALLOWED, 'local:d': refused('unknown') })).toEqual({
      names: ['local:d', 'a', 'b', 'c'],
      allowed: ['c'],
      failures: [],
    });
  });

  it('a failure that was let pass is told of', async () => {
    expect(await asked('any', { a: FAILED_OPEN })).toMatchObject({ failures: ['a: fail open: no answer'] });
  });

  it('one that refuses alone is named with its reason', async () => {
    expect(await asked('any', { a: refused('no') })).toMatchObject({ refused: 'a', reason: 'no', desk: 'a' });
  });

  it('several that refuse are named with their reasons', async () => {
    expect(await asked('any', { a: refused('no'), 'local:b': refused('unknown') })).toMatchObject({
      refused: 'all verifiers',
      reason: 'local:b: unknown; a: no',
      desk: 'local:b',
    });
  });

  it('nobody allows where there is none', async () => {
    expect(await asked('any', {})).toMatchObject({ refused: 'all verifiers', reason: '', desk: undefined });
  });

  it('a client that has gone is refused by no one', async () => {
    await expect(
      consult('any', [{ name: 'a', local: false } as Desk], () => Promise.reject(new Error('gone'))),
    ).rejects.toThrow('gone');
  });
});
