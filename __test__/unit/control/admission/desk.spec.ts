import { describe, expect, it } from 'vitest';
import { Desk } from '../../../../src/control/admission/desk.js';
import { ALLOWED, type Question, type Verifier } from '../../../../src/control/admission/verifier.js';
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
