/** What a gate tells of itself on pages and in metrics. */
import { describe, expect, it } from 'vitest';
import { TIME_BOUNDS } from '../../../../src/control/admission/desk.js';
import type { Gate } from '../../../../src/control/admission/gate.js';
import { ALLOWED, denied, failed } from '../../../../src/control/admission/verifier.js';
import { desk, keyFile, login, newKey, setup } from './gates.js';

const allow = async () => ALLOWED;

describe('the facts of a gate', () => {
  it('the facts of a gate name what decides about clients', async () => {
    const [list, deny] = [await keyFile(newKey()), await keyFile(newKey(), newKey())];
    const [a, b] = [desk('a', allow), desk('b', allow)];
    const onAdmit = () => true;
    expect(setup().gate.facts()).toEqual([['Admission', 'every client']]);
    expect(setup({ desks: [a] }).gate.facts()).toEqual([
      ['Admission', '1 verifier'],
      ['Admission by a', 'ok'],
    ]);
    expect(setup({ policy: 'all', desks: [a, b], lists: [list], deny, onAdmit }).gate.facts()).toEqual([
      ['Admission', 'all of 2 verifiers, deny, onAdmit'],
      ['Admission by a', 'ok'],
      ['Admission by b', 'ok'],
      [`List ${list.path}`, '1 key'],
      [`List ${deny.path}`, '2 keys'],
    ]);
    expect(setup({ deny }).gate.facts()).toEqual([
      ['Admission', 'deny'],
      [`List ${deny.path}`, '2 keys'],
    ]);
    expect(setup({ onAdmit }).gate.facts()).toEqual([['Admission', 'onAdmit']]);
  });

  it('a check tells the faults of the verifiers', async () => {
    const checked = (name: string, check?: () => Promise<string>) =>
      desk(name, allow, { verifier: { name, bySource: false, ask: allow, close: () => {}, ...(check && { check }) } });
    const desks = [checked('a', async () => 'it is broken'), checked('b', async () => ''), checked('c')];
    expect(await setup({ desks }).gate.check()).toEqual(['it is broken']);
  });

  it('the figures have the rows of a list and a hook before either has decided', async () => {
    const rows = (gate: Gate) => [...new Set(gate.figures()?.outcomes.map(({ of }) => of[0]))];
    expect(rows(setup({ deny: await keyFile(), onAdmit: () => true }).gate)).toEqual(['deny', 'onAdmit']);
    expect(rows(setup({ onAdmit: () => true }).gate)).toEqual(['onAdmit']);
  });

  it('the figures have a row for each verifier and outcome, and for the list and the hook', async () => {
    const onAdmit = () => false;
    const [bad, good] = [newKey(), newKey()];
    const desks = [
      desk('a', async ({ key }) => (key === good ? ALLOWED : denied('no'))),
      desk('b', async () => failed('x')),
    ];
    const { gate } = setup({ desks, deny: await keyFile(bad), onAdmit });
    for (const [id, key] of [bad, good, newKey()].entries()) expect(await gate.login(login(id, key))).toBeNull();
    const figures = gate.figures();
    const rows = ['a', 'b', 'deny', 'onAdmit'].flatMap((name) =>
      ['allowed', 'denied', 'error', 'timeout', 'cached', 'kicked'].map((outcome) => [name, outcome]),
    );
    expect(figures?.outcomes.map(({ of }) => of)).toEqual(rows);
    const counted = figures?.outcomes.filter(({ value }) => value > 0).map(({ of, value }) => [...of, value]);
    expect(counted).toEqual([
      ['a', 'allowed', 1],
      ['a', 'denied', 1],
      ['b', 'error', 2],
      ['deny', 'denied', 1],
      ['onAdmit', 'denied', 1],
    ]);
    expect(figures?.times).toEqual({ bounds: TIME_BOUNDS, counts: expect.any(Array), sum: expect.any(Number) });
    expect(figures?.times.counts).toHaveLength(12);
    expect(figures?.times.counts.reduce((sum, count) => sum + count)).toBe(4);
    expect(figures?.times.sum).toBeGreaterThan(0);
    expect(setup().gate.figures()).toBeUndefined();
  });
});
