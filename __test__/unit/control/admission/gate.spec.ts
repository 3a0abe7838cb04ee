/** The gate alone, with clients that leave at any moment of their admission. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Desk } from '../../../../src/control/admission/desk.js';
import { Gate, type GateOptions } from '../../../../src/control/admission/gate.js';
import { ALLOWED, failed, type Verifier } from '../../../../src/control/admission/verifier.js';
import { openAdmission } from '../../../../src/control/admit.js';
import type { Login } from '../../../../src/plane/plane.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';

const NO_CACHE = { allow: 0, deny: 0, grace: 0 };

const lines: object[] = [];

function gate(options: Partial<GateOptions> = {}): Gate {
  const verifier: Verifier = { name: 'all', bySource: false, ask: async () => ALLOWED, close: () => {} };
  const common = { timeout: 0, failOpen: false, cache: NO_CACHE, atOnce: 64, now: () => 0, log: () => {} };
  const made = new Gate(
    {
      rights: openAdmission(undefined, []),
      deniedApps: [],
      policy: 'any',
      desks: [new Desk({ name: 'all', verifier, ...common })],
      lists: [],
      deny: undefined,
      recheck: 0,
      grace: 0,
      onAdmit: undefined,
      hookTimeout: 1000,
      ...options,
    },
    { kick: () => {}, limit: () => {}, log: (level, facts, text) => lines.push({ level, text, ...facts }) },
  );
  onTestFinished(() => made.close());
  return made;
}

function login(id: number): Login {
  const info = { meshKey: undefined, canAckPings: true, isProber: false, version: 2, appName: '' } as never;
  const peer = { address: '192.0.2.1', port: 1 };
  return { id, key: generateKeyPair().publicKey, info, peer, tlsVersion: null, notIdeal: false };
}

describe('a gate', () => {
  it('a gate logs a few refusals, and the number of those held back', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const admission = gate({ rights: openAdmission(undefined, ['']) });
    lines.length = 0;
    for (let id = 0; id < 20; id++) expect(admission.login(login(id))).toBeNull();
    expect(lines).toHaveLength(5);
    expect(lines[0]).toEqual({
      level: 'info',
      text: 'client refused',
      key: expect.stringMatching(/^nodekey:/),
      addr: expect.stringMatching(/^192\.0\.2\.1:\d+$/),
      verifier: 'deny',
      reason: 'an app that is not allowed',
    });
    vi.advanceTimersByTime(500);
    for (let id = 20; id < 30; id++) admission.login(login(id));
    expect(lines).toHaveLength(6);
    expect(lines[5]).toMatchObject({ heldBack: 15 });
  });

  it('a gate logs a client that is refused again and again once a minute, with the number of refusals', () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const admission = gate({ rights: openAdmission(undefined, ['']) });
    const same = login(1);
    lines.length = 0;
    // As tailscaled tries again.
    for (let second = 0; second < 180; second++) {
      expect(admission.login(same)).toBeNull();
      vi.advanceTimersByTime(1000);
    }
    expect(lines.map((line) => (line as { times?: number }).times)).toEqual([undefined, 60, 60]);
    // Another client is not held back by it.
    admission.login(login(2));
    expect(lines).toHaveLength(4);
    expect(lines[3]).not.toHaveProperty('times');
  });

  it('a gate gives up the open questions to other verifiers once one has admitted the client', async () => {
    const common = { timeout: 0, failOpen: false, cache: NO_CACHE, atOnce: 64, now: () => 0, log: () => {} };
    const quick: Verifier = { name: 'quick', bySource: false, ask: async () => ALLOWED, close: () => {} };
    const given = vi.fn();
    const ask: Verifier['ask'] = (_question, signal) =>
      new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          given();
          resolve(failed('given up'));
        });
      });
    const slow: Verifier = { name: 'slow', bySource: false, ask, close: () => {} };
    const admission = gate({
      desks: [quick, slow].map((verifier) => new Desk({ name: verifier.name, verifier, ...common })),
    });
    expect(await admission.login(login(1))).toBeTruthy();
    expect(given).toHaveBeenCalledOnce();
  });

  it.each(['a verifier', 'the hook'])(
    'a gate admits no client that leaves before the answer of %s, at whatever moment',
    async (who) => {
      const admission = gate(who === 'the hook' ? { desks: [], onAdmit: () => true } : {});
      let heard = 0;
      let late = 0;
      for (let moment = 0; moment < 60; moment++) {
        let isHeard = false;
        const decision = Promise.resolve(admission.login(login(moment))).then((outcome) => {
          isHeard = true;
          return outcome;
        });
        for (let tick = 0; tick < moment; tick++) await Promise.resolve();
        const wasHeard = isHeard;
        admission.gone(moment);
        const outcome = await decision;
        if (wasHeard) heard += 1;
        else if (outcome) late += 1;
      }
      expect(heard).toBeGreaterThan(0);
      // The one turn between a decision and the code that waits for it.
      expect(late).toBeLessThanOrEqual(1);
    },
  );
});
