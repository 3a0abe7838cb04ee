import { describe, expect, it, vi } from 'vitest';
import { Desk } from '../../../../src/control/admission/desk.js';
import { ALLOWED, failed, type Question, type Verifier } from '../../../../src/control/admission/verifier.js';
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
