/** What a gate does about connected clients, in time that the test moves. */
import { describe, expect, it, vi } from 'vitest';
import type { AdmitClient, AdmitDecision } from '../../../../src/control/admission/hook.js';
import { ALLOWED, type Answer, denied, failed } from '../../../../src/control/admission/verifier.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { desk, fakeTime, login, newKey, outcomes, setup } from './gates.js';

const HOUR = 3_600_000;
const GRACE = 10_000;
const recheck = 1000;

describe('rechecks at a gate', () => {
  it('a recheck asks the verifier whatever is cached, and its refusal closes the client', async () => {
    fakeTime();
    const ask = vi.fn(async () => ALLOWED);
    const cache = { allow: HOUR, deny: HOUR, grace: 0 };
    const { gate, kicked, lines } = setup({ desks: [desk('only', ask, { cache })], recheck });
    const key = newKey();
    for (const id of [1, 2]) expect(await gate.login(login(id, key))).toBeTruthy();
    expect(ask).toHaveBeenCalledTimes(1);
    ask.mockResolvedValue(denied('no'));
    await vi.advanceTimersByTimeAsync(recheck);
    expect(kicked).toEqual([1, 2]);
    const facts = { level: 'info', key: formatNodeKey(key), addr: '192.0.2.1:7', verifier: 'only', reason: 'no' };
    expect(lines).toEqual([{ ...facts, text: 'client is not allowed any more' }]);
    // The next login of the client is another story, and told of, too.
    expect(await gate.login(login(3, key))).toBeNull();
    expect(lines).toEqual([expect.anything(), { ...facts, text: 'client refused' }]);
    expect(outcomes(gate)).toEqual({ 'only allowed': 1, 'only denied': 1, 'only cached': 2, 'only kicked': 2 });
    await vi.advanceTimersByTimeAsync(recheck);
    expect(ask).toHaveBeenCalledTimes(2);
  });

  it('a client that has left is not asked about again', async () => {
    fakeTime();
    const ask = vi.fn(async () => ALLOWED);
    const { gate } = setup({ desks: [desk('only', ask)], recheck });
    const [stays, leaves] = [newKey(), newKey()];
    await gate.login(login(1, stays));
    await gate.login(login(2, leaves));
    gate.gone(2);
    await vi.advanceTimersByTimeAsync(recheck);
    const keys = ask.mock.calls.map(([question]: unknown[]) => (question as { key: unknown }).key);
    expect(keys).toEqual([stays, leaves, stays]);
  });

  it('a gate without rechecks asks at logins alone', async () => {
    fakeTime();
    const ask = vi.fn(async () => ALLOWED);
    const { gate } = setup({ desks: [desk('only', ask)] });
    await gate.login(login(1));
    await vi.advanceTimersByTimeAsync(HOUR);
    expect(ask).toHaveBeenCalledTimes(1);
  });

  it('a gate that is closed asks about no client any more', async () => {
    fakeTime();
    const ask = vi.fn(async () => ALLOWED);
    const { gate } = setup({ desks: [desk('only', ask)], recheck });
    await gate.login(login(1));
    gate.close();
    await vi.advanceTimersByTimeAsync(HOUR);
    expect(ask).toHaveBeenCalledTimes(1);
  });

  it('a client that all verifiers refuse again is counted at the first one', async () => {
    fakeTime();
    const answers = [ALLOWED, ALLOWED];
    const desks = ['first', 'second'].map((name, index) => desk(name, async () => answers[index] as Answer));
    const { gate, kicked, lines } = setup({ desks, recheck });
    expect(await gate.login(login(1))).toBeTruthy();
    answers.fill(denied('no'));
    await vi.advanceTimersByTimeAsync(recheck);
    expect(kicked).toEqual([1]);
    expect(lines).toMatchObject([{ verifier: 'all verifiers', reason: 'first: no; second: no' }]);
    expect(outcomes(gate)).toMatchObject({ 'first kicked': 1 });
    expect(outcomes(gate)).not.toHaveProperty('second kicked');
  });

  it('a verifier has as long a grace as its cache says, and one that has not admitted the client has none', async () => {
    fakeTime();
    const answers: Record<string, Answer> = { first: ALLOWED, second: denied('no') };
    const cache = { allow: 0, deny: 0, grace: GRACE };
    const desks = Object.keys(answers).map((name) => desk(name, async () => answers[name] as Answer, { cache }));
    const { gate, kicked } = setup({ desks, recheck, grace: GRACE });
    expect(await gate.login(login(1))).toBeTruthy();
    answers.first = failed('it is down');
    // Found at the first recheck, and over with the one that comes when the grace ends.
    await vi.advanceTimersByTimeAsync(recheck + GRACE - 1);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(kicked).toEqual([1]);
  });
});

describe('the grace of a client that several verifiers have admitted', () => {
  it('under policy all, one verifier may fail for the time of the grace, whatever the others do', async () => {
    fakeTime();
    const answers: Record<string, Answer> = { first: ALLOWED, second: ALLOWED };
    const cache = { allow: 0, deny: 0, grace: GRACE };
    const desks = Object.keys(answers).map((name) => desk(name, async () => answers[name] as Answer, { cache }));
    const { gate, kicked } = setup({ policy: 'all', desks, recheck });
    expect(await gate.login(login(1))).toBeTruthy();
    answers.second = failed('it is down');
    await vi.advanceTimersByTimeAsync(GRACE);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(recheck);
    expect(kicked).toEqual([1]);
  });
});

describe('the hook at rechecks', () => {
  /** A gate with a hook, which answers at rechecks what is said. */
  function hooked() {
    fakeTime();
    const said = { decide: (): AdmitDecision => true };
    const asked: AdmitClient[] = [];
    const made = setup({
      onAdmit: (client) => {
        asked.push(client);
        return said.decide();
      },
      recheck,
      grace: GRACE,
    });
    return { ...made, said, asked };
  }

  it('the hook changes the limit of a connected client, and a limit that is as before is not set again', async () => {
    const { gate, limits, kicked, said, asked } = hooked();
    const limit = { bytesPerSecond: 1000, burst: 200_000 };
    said.decide = () => ({ receive: limit });
    expect(await gate.login(login(1))).toEqual({ mesh: false, receiveLimit: limit });
    await vi.advanceTimersByTimeAsync(recheck);
    expect(limits).toEqual([]);
    for (const receive of [
      { ...limit, burst: 300_000 },
      { ...limit, bytesPerSecond: 2000 },
    ]) {
      said.decide = () => ({ receive });
      await vi.advanceTimersByTimeAsync(2 * recheck);
      expect(limits.splice(0)).toEqual([[1, receive]]);
    }
    said.decide = () => {
      throw new Error('oh');
    };
    await vi.advanceTimersByTimeAsync(recheck);
    expect(limits).toEqual([]);
    said.decide = () => true;
    await vi.advanceTimersByTimeAsync(2 * recheck);
    expect(limits.splice(0)).toEqual([[1, null]]);
    said.decide = () => ({ receive: limit });
    await vi.advanceTimersByTimeAsync(recheck);
    expect(limits).toEqual([[1, limit]]);
    expect(kicked).toEqual([]);
    expect(asked.map(({ again }) => again)).toEqual([false, ...Array(9).fill(true)]);
    expect(outcomes(gate)).toEqual({ 'onAdmit allowed': 1, 'onAdmit error': 1 });
  });

  it('the hook may change the rate of a limit alone', async () => {
    const { gate, limits, said } = hooked();
    let bytesPerSecond = 1000;
    said.decide = () => ({ receive: { bytesPerSecond, burst: 200_000 } });
    expect(await gate.login(login(1))).toBeTruthy();
    bytesPerSecond = 2000;
    await vi.advanceTimersByTimeAsync(recheck);
    expect(limits).toEqual([[1, { bytesPerSecond, burst: 200_000 }]]);
  });

  it('the hook closes a connected client', async () => {
    const { gate, kicked, said, lines } = hooked();
    expect(await gate.login(login(1))).toBeTruthy();
    said.decide = () => ({ refuse: 'no account' });
    await vi.advanceTimersByTimeAsync(recheck);
    expect(kicked).toEqual([1]);
    expect(lines).toMatchObject([{ text: 'client is not allowed any more', reason: 'onAdmit: no account' }]);
    expect(outcomes(gate)).toEqual({ 'onAdmit allowed': 1, 'onAdmit kicked': 1 });
  });

  it('a hook that fails closes a client as soon as the grace is over', async () => {
    const { gate, kicked, said } = hooked();
    expect(await gate.login(login(1))).toBeTruthy();
    said.decide = () => {
      throw new Error('oh');
    };
    await vi.advanceTimersByTimeAsync(recheck + GRACE - 1);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(kicked).toEqual([1]);
    expect(outcomes(gate)).toEqual({ 'onAdmit allowed': 1, 'onAdmit error': 11, 'onAdmit kicked': 1 });
  });
});
