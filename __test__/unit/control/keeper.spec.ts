/** One certificate over months: when it is ordered, when not, and how often a CA is asked. */
import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AcmeError } from '../../../src/acme/problem.js';
import type { Suggestion } from '../../../src/acme/renewal.js';
import { BACK_OFF, nextAttempt } from '../../../src/control/acme/back-off.js';
import { KEEPER_TIMES, Keeper, type KeptCertificate } from '../../../src/control/acme/keeper.js';
import { parsePair } from '../../../src/control/certificates.js';
import { selfSignedCertificate } from '../../../src/control/x509.js';

const MINUTE = 60 * 1000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const NAME = 'relay.example.com';

beforeEach(() => {
  vi.useFakeTimers({ now: new Date('2026-01-01T00:00:00Z') });
});

afterEach(() => {
  vi.useRealTimers();
});

function certificate(days: number, age = 0): KeptCertificate {
  const { der, privateKey } = selfSignedCertificate([NAME], days, new Date(Date.now() - age * DAY));
  const leaf = new X509Certificate(der);
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  return { ...parsePair({ chain: leaf.toString(), key }, [NAME]), leaf };
}

/** A keeper whose CA does what the test says. */
class Rig {
  orders: number[] = [];
  asked: number[] = [];
  kept: KeptCertificate | undefined;
  days = 90;
  failure: Error | undefined;
  suggestion: (() => Suggestion | undefined) | undefined;
  lines: string[] = [];
  locked = false;
  readonly keeper: Keeper;

  constructor(eager = true) {
    this.keeper = new Keeper(
      NAME,
      {
        random: () => 0,
        load: async () => this.kept,
        order: async () => {
          this.orders.push(Date.now());
          if (this.failure) throw this.failure;
          return 'chain';
        },
        accept: () => certificate(this.days),
        store: async () => undefined,
        lock: async () => (this.locked ? undefined : async () => undefined),
        suggestion: async () => {
          this.asked.push(Date.now());
          return this.suggestion?.();
        },
      },
      { changed: () => undefined, log: (level, _facts, text) => this.lines.push(`${level}: ${text}`) },
      KEEPER_TIMES,
      eager,
    );
  }

  async pass(milliseconds: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(milliseconds);
  }
}

describe('a keeper', () => {
  it('orders at once, and again when a third of the lifetime is left', async () => {
    const rig = new Rig();
    await rig.keeper.look();
    await rig.pass(0);
    expect(rig.orders).toHaveLength(1);
    await rig.pass(59 * DAY);
    expect(rig.orders).toHaveLength(1);
    await rig.pass(2 * DAY);
    expect(rig.orders).toHaveLength(2);
    rig.keeper.stop();
    await rig.pass(365 * DAY);
    expect(rig.orders).toHaveLength(2);
  });

  it('takes what is kept, and orders nothing before its time', async () => {
    const rig = new Rig();
    rig.kept = certificate(90, 30);
    await rig.keeper.look();
    await rig.pass(29 * DAY);
    expect(rig.orders).toEqual([]);
    expect(rig.keeper.certificate?.fingerprint).toBe(rig.kept.fingerprint);
    await rig.pass(2 * DAY);
    expect(rig.orders).toHaveLength(1);
  });

  it('waits for a client, where it is not eager, and for each as long as it may', async () => {
    const rig = new Rig(false);
    await rig.keeper.look();
    await rig.pass(30 * DAY);
    expect(rig.orders).toEqual([]);
    rig.failure = new Error('no');
    expect(rig.keeper.want()).toBe(true);
    expect(rig.keeper.want()).toBe(true);
    await rig.keeper.settled();
    expect(rig.orders).toHaveLength(1);
    // Whoever comes during the pause has nothing to wait for, and nothing is ordered for it.
    for (let count = 0; count < 100; count++) expect(rig.keeper.want()).toBe(false);
    await rig.pass(2 * MINUTE);
    expect(rig.orders).toHaveLength(1);
    expect(rig.keeper.want()).toBe(true);
  });

  it('waits longer and longer after failures: five orders in the first hour', async () => {
    const rig = new Rig();
    rig.failure = new Error('no');
    await rig.keeper.look();
    await rig.pass(DAY);
    const hours = rig.orders.filter((at) => at < (rig.orders[0] as number) + HOUR);
    expect(hours).toHaveLength(5);
    expect(rig.orders.length).toBeLessThan(15);
    expect(rig.keeper.failures).toBe(rig.orders.length);
    rig.failure = undefined;
    await rig.pass(4 * HOUR);
    expect(rig.keeper.failures).toBe(0);
    expect(rig.keeper.trouble).toBe('');
  });

  it('serves what it has while renewal fails, and waits as long as the CA asks', async () => {
    const rig = new Rig();
    rig.kept = certificate(90, 61);
    rig.failure = new AcmeError('rateLimited', 'too many', Date.now() + 10 * HOUR);
    await rig.keeper.look();
    await rig.pass(9 * HOUR);
    expect(rig.orders).toHaveLength(1);
    expect(rig.keeper.certificate?.fingerprint).toBe(rig.kept.fingerprint);
    expect(rig.lines.at(-1)).toMatch(
      /^error: .*the relay continues to serve the old one: too many \(the CA has had too many orders/,
    );
    await rig.pass(2 * HOUR);
    expect(rig.orders.length).toBeGreaterThan(1);
  });

  it('renews when the CA says so', async () => {
    const rig = new Rig();
    rig.kept = certificate(90, 10);
    const at = Date.now() + 5 * DAY;
    rig.suggestion = () => ({ at, askAt: Date.now() + 6 * HOUR, explanation: undefined });
    await rig.keeper.look();
    await rig.pass(5 * DAY - MINUTE);
    expect(rig.orders).toEqual([]);
    await rig.pass(2 * MINUTE);
    expect(rig.orders).toHaveLength(1);
    expect(rig.asked.length).toBeGreaterThanOrEqual(20);
  });

  it('orders no more than once an hour, even if the CA wants every certificate replaced at once', async () => {
    const rig = new Rig();
    rig.suggestion = () => ({ at: 0, askAt: Date.now() + MINUTE, explanation: undefined });
    await rig.keeper.look();
    await rig.pass(DAY);
    expect(rig.orders.length).toBeGreaterThan(10);
    expect(rig.orders.length).toBeLessThanOrEqual(25);
  });

  it('waits for a relay that orders the same, and takes what that has got', async () => {
    const rig = new Rig();
    rig.locked = true;
    await rig.keeper.look();
    await rig.pass(MINUTE);
    expect(rig.orders).toEqual([]);
    rig.kept = certificate(90);
    await rig.pass(MINUTE);
    await rig.keeper.settled();
    expect(rig.orders).toEqual([]);
    expect(rig.keeper.certificate).toBe(rig.kept);
  });
});

describe('the pause after a failure', () => {
  it.each([
    [1, 0, MINUTE],
    [2, 0, 3 * MINUTE],
    [3, 0, 9 * MINUTE],
    [20, 0, 180 * MINUTE],
    [1, 1, 1.2 * MINUTE],
  ])('after %d failures', (failures, random, pause) => {
    expect(nextAttempt(BACK_OFF, failures, 1000, undefined, () => random)).toBe(1000 + pause);
  });

  it('is what the CA asks for, within a day', () => {
    expect(nextAttempt(BACK_OFF, 1, 0, 5 * HOUR, () => 0)).toBe(5 * HOUR);
    expect(nextAttempt(BACK_OFF, 1, 0, 500 * HOUR, () => 0)).toBe(DAY);
  });
});
