import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Desk, TIME_BOUNDS } from '../../../../src/control/admission/desk.js';
import {
  ALLOWED,
  type Answer,
  failed,
  type Question,
  type Verifier,
} from '../../../../src/control/admission/verifier.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';

const HOUR = 3_600_000;
const { signal } = new AbortController();

/** A desk, and the questions to its verifier. */
function desk(bySource: boolean) {
  const asked: Question[] = [];
  const verifier: Verifier = {
    name: 'verifier',
    bySource,
    ask: async (question) => {
      asked.push(question);
      return ALLOWED;
    },
    close: () => {},
  };
  const cache = { allow: HOUR, deny: HOUR, grace: 0 };
  const common = { timeout: 0, failOpen: false, cache, atOnce: 64, now: () => 0, log: () => {} };
  return { asked, desk: new Desk({ name: 'verifier', verifier, ...common }) };
}

describe('a desk', () => {
  it('a question that every client has given up counts as no failure of the verifier', async () => {
    const asks = vi.fn<Verifier['ask']>((_question, given) => {
      const late = failed('no answer in time', { timeout: true });
      return new Promise((resolve) => given.addEventListener('abort', () => resolve(late)));
    });
    const verifier: Verifier = { name: 'verifier', bySource: false, ask: asks, close: () => {} };
    const log = vi.fn();
    const cache = { allow: 0, deny: 0, grace: 0 };
    const made = new Desk({ name: '', verifier, timeout: 0, failOpen: false, cache, atOnce: 1, now: () => 0, log });
    const client = new AbortController();
    const { publicKey: key } = generateKeyPair();
    const asked = made.ask({ key, address: '' }, { signal: client.signal, anew: false });
    await vi.waitFor(() => expect(asks).toHaveBeenCalledOnce());
    client.abort();
    await expect(asked).rejects.toThrow();
    await vi.waitFor(() => expect(made.state).toBe('ok'));
    expect(made.counts).toEqual({ allowed: 0, denied: 0, error: 0, timeout: 0, cached: 0, kicked: 0 });
    expect(log).not.toHaveBeenCalled();
  });

  it('a desk logs the failures of a verifier once a minute, and once that it answers again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    let answer: Answer = failed('it is down');
    const verifier: Verifier = { name: 'v', bySource: false, ask: async () => answer, close: () => {} };
    const lines: string[] = [];
    const log = (level: string, facts: object, text: string) =>
      lines.push(`${level}: ${text} ${JSON.stringify(facts)}`);
    const cache = { allow: 0, deny: 0, grace: 0 };
    const made = new Desk({ name: 'v', verifier, timeout: 0, failOpen: false, cache, atOnce: 1, now: () => 0, log });
    const ask = () => made.ask({ key: generateKeyPair().publicKey, address: '' }, { signal, anew: false });
    for (let second = 0; second < 90; second++) {
      await ask();
      vi.advanceTimersByTime(1000);
    }
    const fails = 'warn: a verifier fails {"verifier":"v","reason":"it is down"}';
    expect(lines).toEqual([fails, fails]);
    expect(made.state).toMatch(/^fails; last error \S+: it is down$/);
    answer = ALLOWED;
    for (let time = 0; time < 2; time++) await ask();
    expect(lines).toEqual([fails, fails, 'info: a verifier answers again {"verifier":"v"}']);
    expect(made.state).toMatch(/^ok; last error \S+: it is down$/);
    expect(made.counts).toMatchObject({ error: 90, allowed: 2 });
  });

  it('a desk counts answers by the time that they took', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    let milliseconds = 0;
    const ask: Verifier['ask'] = async () => {
      vi.advanceTimersByTime(milliseconds);
      return ALLOWED;
    };
    const verifier: Verifier = { name: 'v', bySource: false, ask, close: () => {} };
    const common = { timeout: 0, failOpen: false, atOnce: 1, now: () => 0, log: () => {} };
    const made = new Desk({ name: 'v', verifier, cache: { allow: 0, deny: 0, grace: 0 }, ...common });
    for (milliseconds of [1, 2, 300, 400, 60_000]) {
      await made.ask({ key: generateKeyPair().publicKey, address: '' }, { signal, anew: false });
    }
    const counted = made.times.counts.flatMap((count, slot) => (count > 0 ? [[TIME_BOUNDS[slot], count]] : []));
    expect(counted).toEqual([
      [0.001, 1],
      [0.005, 1],
      [0.5, 2],
      [undefined, 1],
    ]);
    expect(made.times.sum).toBeCloseTo(60.703);
  });

  it.each([
    [true, 2],
    [false, 1],
  ])(
    'a desk keeps answers for each address of a key if the verifier sees addresses: %s',
    async (bySource, questions) => {
      const { asked, desk: made } = desk(bySource);
      const { publicKey: key } = generateKeyPair();
      for (const address of ['192.0.2.1', '192.0.2.2', '192.0.2.1', '192.0.2.2']) {
        expect((await made.ask({ key, address }, { signal, anew: false })).kind).toBe('allowed');
      }
      expect(asked).toHaveLength(questions);
      await made.ask({ key, address: '192.0.2.1' }, { signal, anew: true });
      expect(asked).toHaveLength(questions + 1);
    },
  );
});
