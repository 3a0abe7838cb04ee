/** Gates that get other rules while clients are connected or wait. */
import { describe, expect, it, vi } from 'vitest';
import { ALLOWED, type Answer, denied, failed } from '../../../../src/control/admission/verifier.js';
import { openAdmission } from '../../../../src/control/admit.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { turn } from '../../../helpers/wait.js';
import { connected, desk, fakeTime, keyFile, login, newKey, outcomes, rules, setup, write } from './gates.js';

const HOUR = 3_600_000;

/** A verifier that answers when the test says so. */
function held() {
  const answers: ((answer: Answer) => void)[] = [];
  const ask = vi.fn(() => new Promise<Answer>((resolve) => answers.push(resolve)));
  return { answers, ask };
}

describe('new rules of a gate, and logins that wait', () => {
  it('new rules decide about a login that waits for an answer under the old ones', async () => {
    const { answers, ask } = held();
    const { gate, lines } = setup({ desks: [desk('old', ask)] });
    const waiting = gate.login(login(1));
    await vi.waitFor(() => expect(ask).toHaveBeenCalledOnce());
    const next = vi.fn(async () => denied('not any more'));
    gate.replace(rules({ desks: [desk('new', next)] }), []);
    answers[0]?.(ALLOWED);
    expect(await waiting).toBeNull();
    expect(next).toHaveBeenCalledOnce();
    expect(lines).toMatchObject([{ verifier: 'new', reason: 'not any more' }]);
  });

  it('new rules do not ask about a login whose client has left', async () => {
    const { ask } = held();
    const { gate } = setup({ desks: [desk('old', ask)] });
    const waiting = gate.login(login(1));
    await vi.waitFor(() => expect(ask).toHaveBeenCalledOnce());
    gate.gone(1);
    const onAdmit = vi.fn(() => true);
    gate.replace(rules({ onAdmit }), []);
    expect(await waiting).toBeUndefined();
    await turn();
    expect(onAdmit).not.toHaveBeenCalled();
  });
});

describe('new rules of a gate, and connected clients', () => {
  it('a client that no rule was about so far is asked about, with what is known of it', async () => {
    const { gate, kicked, limits } = setup();
    const client = login(1, newKey(), 'app');
    expect(gate.login(client)).toBeTruthy();
    const onAdmit = vi.fn(() => true);
    gate.replace(rules({ onAdmit }), [connected(client)]);
    await turn();
    const facts = { key: formatNodeKey(client.key), appName: 'app', version: 0, address: '192.0.2.1', port: 7 };
    expect(onAdmit.mock.calls).toEqual([[{ ...facts, tlsVersion: null, again: true }, expect.any(AbortSignal)]]);
    expect([kicked, limits]).toEqual([[], []]);
  });

  it('a client keeps its facts and its limit', async () => {
    const limit = { bytesPerSecond: 1000, burst: 200_000 };
    const onAdmit = vi.fn(() => ({ receive: limit }));
    const { gate, limits } = setup({ onAdmit });
    const client = login(1);
    expect(await gate.login(client)).toEqual({ mesh: false, receiveLimit: limit });
    for (let time = 0; time < 2; time++) {
      gate.replace(rules({ onAdmit }), [connected(client)]);
      await turn();
    }
    expect(onAdmit).toHaveBeenCalledTimes(3);
    const facts = { version: 2, tlsVersion: '1.3', again: true };
    expect(onAdmit).toHaveBeenLastCalledWith(expect.objectContaining(facts), expect.anything());
    expect(limits).toEqual([]);
  });

  it('a verifier that stays, and fails, gives its clients their grace even if the gate never asks again by itself', async () => {
    let answer: Answer = ALLOWED;
    const cache = { allow: 0, deny: 0, grace: HOUR };
    const options = () => ({ desks: [desk('stays', async () => answer, { cache })], grace: HOUR });
    const { gate, kicked } = setup(options());
    const client = login(1);
    expect(await gate.login(client)).toBeTruthy();
    answer = failed('it is down');
    gate.replace(rules(options()), [connected(client)]);
    await turn();
    expect(kicked).toEqual([]);
    // A verifier of another name has not admitted it.
    gate.replace(rules({ desks: [desk('another', async () => answer, { cache })], grace: HOUR }), [connected(client)]);
    await turn();
    expect(kicked).toEqual([1]);
  });

  it('apps that new rules refuse are closed, and others stay, also without a verifier', async () => {
    const { gate, kicked, lines } = setup();
    const [bad, good] = [login(1, newKey(), 'bad'), login(2, newKey(), 'good')];
    for (const client of [bad, good]) expect(gate.login(client)).toBeTruthy();
    const denies = { deniedApps: ['bad'], rights: openAdmission(undefined, ['bad']) };
    gate.replace(rules(denies), [connected(bad), connected(good)]);
    await turn();
    expect(kicked).toEqual([1]);
    const facts = { key: formatNodeKey(bad.key), addr: '192.0.2.1:7', app: 'bad', verifier: 'deny' };
    const text = 'client is not allowed any more';
    expect(lines).toEqual([{ level: 'info', text, ...facts, reason: 'an app that is not allowed' }]);
    expect(gate.figures()).toBeUndefined();
  });

  it('rules that admit every client do not look at the clients', async () => {
    const { gate } = setup({ desks: [desk('old', async () => ALLOWED)] });
    await gate.login(login(1));
    const look = vi.fn();
    function* clients() {
      look();
      yield connected(login(1));
    }
    gate.replace(rules(), clients());
    expect(look).not.toHaveBeenCalled();
    expect(gate.login(login(2))).toEqual({ mesh: false, receiveLimit: null });
    gate.replace(rules({ onAdmit: () => true }), clients());
    expect(look).toHaveBeenCalled();
  });
});

describe('new rules of a gate, and its parts', () => {
  it('new rules are watched: rechecks and changes of lists close clients', async () => {
    fakeTime();
    const { gate, kicked } = setup();
    const [one, other] = [login(1), login(2)];
    for (const client of [one, other]) gate.login(client);
    let answer: Answer = ALLOWED;
    const list = await keyFile(one.key);
    const options = { desks: [desk('new', async () => answer)], lists: [list], deny: await keyFile(), recheck: 1000 };
    gate.replace(rules(options), [connected(one), connected(other)]);
    await turn();
    expect(kicked).toEqual([]);
    write(options.deny, one.key);
    await gate.reload();
    await turn();
    expect(kicked).toEqual([1]);
    answer = denied('no');
    await vi.advanceTimersByTimeAsync(1000);
    expect(kicked).toEqual([1, 2]);
  });

  it('the verifiers and lists of the old rules are closed', async () => {
    fakeTime();
    const close = vi.fn();
    const ask = vi.fn(async () => ALLOWED);
    const verifier = { name: 'old', bySource: false, ask, close };
    const [list, deny] = [await keyFile(newKey()), await keyFile(newKey())];
    const { gate, lines } = setup({ desks: [desk('old', ask, { verifier })], lists: [list], deny, recheck: 1000 });
    await gate.login(login(1));
    gate.replace(rules(), []);
    expect(close).toHaveBeenCalledOnce();
    for (const file of [list, deny]) {
      write(file);
      await file.reload();
      expect(file.keys.size).toBe(1);
    }
    await vi.advanceTimersByTimeAsync(HOUR);
    expect(ask).toHaveBeenCalledOnce();
    expect(lines).toEqual([]);
  });

  it('a verifier that stays goes on with its figures, and so does a deny list', async () => {
    const key = newKey();
    const verifiers = (...names: string[]) => names.map((name) => desk(name, async () => ALLOWED));
    const { gate } = setup({ policy: 'all', desks: verifiers('goes', 'stays') });
    await gate.login(login(1, key));
    expect(gate.figures()?.outcomes.map(({ of }) => of[0])).not.toContain('deny');
    const deny = await keyFile(key);
    gate.replace(rules({ policy: 'all', desks: verifiers('stays', 'comes'), deny }), []);
    expect(gate.figures()?.outcomes.map(({ of }) => of[0])).toContain('deny');
    await gate.login(login(2, key));
    expect(outcomes(gate)).toEqual({ 'stays allowed': 1, 'deny denied': 1 });
    expect(gate.figures()?.times.counts.reduce((sum, count) => sum + count)).toBe(1);
    gate.replace(rules({ policy: 'all', desks: verifiers('stays'), deny: await keyFile() }), []);
    await gate.login(login(3, key));
    expect(outcomes(gate)).toEqual({ 'stays allowed': 2, 'deny denied': 1 });
    gate.replace(rules({ desks: verifiers('stays') }), []);
    expect(outcomes(gate)).toEqual({ 'stays allowed': 2, 'deny denied': 1 });
  });
});
