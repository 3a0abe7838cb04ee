/** How long connected clients stay while their verifiers fail, in time that the test moves. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Desk } from '../../../../src/control/admission/desk.js';
import { Gate, type GateOptions } from '../../../../src/control/admission/gate.js';
import type { OnAdmit } from '../../../../src/control/admission/hook.js';
import type { Policy } from '../../../../src/control/admission/policy.js';
import { ALLOWED, type Answer, denied, failed } from '../../../../src/control/admission/verifier.js';
import { openAdmission } from '../../../../src/control/admit.js';
import type { Login } from '../../../../src/plane/plane.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';

const GRACE = 10_000;
const FAILED = failed('it is down');
const { publicKey: KEY } = generateKeyPair();

interface Setup {
  /** The rules of the gate, with verifiers that know nothing yet. */
  readonly rules: () => GateOptions;
  /** What each verifier answers from now on, by its name. */
  readonly answers: Record<string, Answer>;
  readonly gate: Gate;
  readonly kicked: number[];
}

/** A gate that asks again about each client, once in `recheck` milliseconds. */
function setup(
  answers: Record<string, Answer>,
  recheck: number,
  { onAdmit, policy = 'any' }: { onAdmit?: OnAdmit; policy?: Policy } = {},
): Setup {
  vi.useFakeTimers({ toFake: ['performance', 'setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const cache = { allow: 0, deny: 0, grace: GRACE };
  const now = () => performance.now();
  const common = { timeout: 0, failOpen: false, cache, atOnce: 64, now, log: () => {} };
  const desk = (name: string) => {
    const verifier = { name, bySource: false, ask: async () => answers[name] as Answer, close: () => {} };
    return new Desk({ name, verifier, ...common });
  };
  const rules = (): GateOptions => ({
    rights: openAdmission(undefined, []),
    deniedApps: [],
    policy,
    desks: Object.keys(answers).map(desk),
    lists: [],
    deny: undefined,
    onAdmit,
    ...{ recheck, grace: GRACE, hookTimeout: 0x7fff_ffff },
  });
  const kicked: number[] = [];
  const gate = new Gate(rules(), { kick: (id) => kicked.push(id), limit: () => {}, log: () => {} });
  gate.start();
  onTestFinished(() => gate.close());
  return { answers, rules, gate, kicked };
}

function login(id: number): Login {
  const info = { meshKey: undefined, canAckPings: true, isProber: false, version: 2, appName: '' };
  return { id, key: KEY, info, peer: { address: '192.0.2.1', port: 1 }, tlsVersion: null, notIdeal: false };
}

describe('the grace of connected clients', () => {
  it('an answer ends the grace, and the next failure begins another', async () => {
    const { answers, gate, kicked } = setup({ only: ALLOWED }, 1000);
    expect(await gate.login(login(1))).toBeTruthy();
    for (let time = 0; time < 3; time++) {
      answers.only = FAILED;
      await vi.advanceTimersByTimeAsync(GRACE - 2000);
      answers.only = ALLOWED;
      await vi.advanceTimersByTimeAsync(1000);
    }
    expect(kicked).toEqual([]);
    answers.only = FAILED;
    await vi.advanceTimersByTimeAsync(GRACE + 1000);
    expect(kicked).toEqual([1]);
  });

  it('a client that logs in by the grace has no second one', async () => {
    // The turn of each client is the last of the interval.
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.99);
    onTestFinished(() => random.mockRestore());
    const { answers, gate, kicked } = setup({ only: ALLOWED }, 4000);
    expect(await gate.login(login(1))).toBeTruthy();
    gate.gone(1);
    vi.advanceTimersByTime(1);
    answers.only = FAILED;
    expect(await gate.login(login(2))).toBeTruthy();
    await vi.advanceTimersByTimeAsync(8000);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(4000);
    expect(kicked).toEqual([2]);
  });

  it('a verifier that never admitted the client gives it no grace', async () => {
    const { answers, gate, kicked } = setup({ first: ALLOWED, second: denied('no') }, 1000);
    expect(await gate.login(login(1))).toBeTruthy();
    Object.assign(answers, { first: denied('no'), second: FAILED });
    await vi.advanceTimersByTimeAsync(1000);
    expect(kicked).toEqual([1]);
  });

  it.each<[which: string, answers: Record<string, Answer>, failing: string, policy: Policy]>([
    ['a verifier', { only: ALLOWED }, 'only', 'any'],
    ['one of several verifiers', { first: ALLOWED, second: ALLOWED }, 'second', 'all'],
  ])('%s that stays when the rules change gives its clients their grace', async (_which, answers, failing, policy) => {
    const { rules, gate, kicked } = setup(answers, 1000, { policy });
    expect(await gate.login(login(1))).toBeTruthy();
    answers[failing] = FAILED;
    // Verifiers that know nothing yet: only the gate knows that they admitted the client.
    gate.replace(rules(), [{ id: 1, key: KEY, address: '192.0.2.1', port: 1, appName: '' }]);
    await vi.advanceTimersByTimeAsync(GRACE - 2000);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(4000);
    expect(kicked).toEqual([1]);
  });

  it('a hook that fails closes a connected client when the grace ends, and not before', async () => {
    let isBroken = false;
    const onAdmit = () => {
      if (isBroken) throw new Error('broken');
      return true;
    };
    const { gate, kicked } = setup({}, 1000, { onAdmit });
    expect(await gate.login(login(1))).toBeTruthy();
    isBroken = true;
    await vi.advanceTimersByTimeAsync(GRACE);
    expect(kicked).toEqual([]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(kicked).toEqual([1]);
  });
});
