/** One certificate over months: when it is ordered, when not, and how often a CA is asked. */
import { X509Certificate } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AcmeError } from '../../../src/acme/problem.js';
import type { Suggestion } from '../../../src/acme/renewal.js';
import { type Attempt, formatAttempt, parseAttempt } from '../../../src/control/acme/attempts.js';
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

function lineOf(level: string, facts: object, text: string): string {
  const { reason } = facts as { readonly reason?: string };
  return `${level}: ${text}${reason === undefined ? '' : `: ${reason}`}`;
}

/** What outlives a process: the file about the last order. */
class Disk {
  attempt: Attempt | undefined;
  isReadable = true;
  isWritable = true;
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
  hangs = false;
  isFull = false;
  readonly keeper: Keeper;

  constructor(
    eager = true,
    readonly disk = new Disk(),
  ) {
    this.keeper = new Keeper(
      NAME,
      {
        random: () => 0,
        load: async () => this.kept,
        order: async () => {
          this.orders.push(Date.now());
          if (this.failure) throw this.failure;
          if (this.hangs) await new Promise(() => {});
          return 'chain';
        },
        accept: () => certificate(this.days),
        store: async () => {
          if (this.isFull) throw new Error('the disk is full');
        },
        record: '/certs/record',
        recall: async () => {
          if (!disk.isReadable) throw new Error('it cannot be read');
          return disk.attempt;
        },
        remember: async (attempt) => {
          if (!disk.isWritable) throw new Error('the disk is read-only');
          disk.attempt = attempt;
        },
        lock: async () => (this.locked ? undefined : async () => undefined),
        suggestion: async () => {
          this.asked.push(Date.now());
          return this.suggestion?.();
        },
      },
      { changed: () => undefined, log: (level, facts, text) => this.lines.push(lineOf(level, facts, text)) },
      KEEPER_TIMES,
      eager,
    );
  }

  async pass(milliseconds: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(milliseconds);
  }
}

describe('a keeper', () => {
  it('a keeper orders at once, and again when a third of the lifetime is left', async () => {
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

  it('a keeper uses a stored certificate, and orders nothing before its time', async () => {
    const rig = new Rig();
    rig.kept = certificate(90, 30);
    await rig.keeper.look();
    await rig.pass(29 * DAY);
    expect(rig.orders).toEqual([]);
    expect(rig.keeper.certificate?.fingerprint).toBe(rig.kept.fingerprint);
    await rig.pass(2 * DAY);
    expect(rig.orders).toHaveLength(1);
  });

  it('a keeper that is not eager waits for a client, and lets each one wait as long as it may', async () => {
    const rig = new Rig(false);
    await rig.keeper.look();
    await rig.pass(30 * DAY);
    expect(rig.orders).toEqual([]);
    rig.failure = new Error('no');
    expect(rig.keeper.want()).toBe(true);
    expect(rig.keeper.want()).toBe(true);
    await rig.keeper.settled();
    expect(rig.orders).toHaveLength(1);
    // A client that comes during the pause does not wait, and causes no order.
    for (let count = 0; count < 100; count++) expect(rig.keeper.want()).toBe(false);
    await rig.pass(2 * MINUTE);
    expect(rig.orders).toHaveLength(1);
    expect(rig.keeper.want()).toBe(true);
  });

  it('a keeper waits longer after each failure: five orders in the first hour', async () => {
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

  it('a keeper serves its certificate while the renewal fails, and waits as long as the CA asks', async () => {
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

  it('a keeper renews when the CA suggests it', async () => {
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

  it('a keeper orders at most once an hour, even if the CA wants every certificate replaced at once', async () => {
    const rig = new Rig();
    rig.suggestion = () => ({ at: 0, askAt: Date.now() + MINUTE, explanation: undefined });
    await rig.keeper.look();
    await rig.pass(DAY);
    expect(rig.orders.length).toBeGreaterThan(10);
    expect(rig.orders.length).toBeLessThanOrEqual(25);
  });

  it('a keeper waits for a relay that orders the same certificate, and takes the result', async () => {
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

describe('a keeper that starts again', () => {
  it.each(['fails', 'is cut off'])(
    'a keeper that restarts all day, while each order %s, orders as rarely as one that runs on',
    async (how) => {
      const disk = new Disk();
      const orders: number[] = [];
      const begin = Date.now();
      // A process every ten seconds, for a day.
      while (Date.now() < begin + DAY) {
        const rig = new Rig(true, disk);
        if (how === 'fails') rig.failure = new Error('no');
        else rig.hangs = true;
        await rig.keeper.look();
        await rig.pass(10_000);
        rig.keeper.stop();
        orders.push(...rig.orders);
      }
      expect(orders.filter((at) => at < begin + HOUR)).toHaveLength(5);
      expect(orders.length).toBeLessThan(15);
      expect(orders.length).toBeGreaterThan(9);
    },
  );

  it('a restarted keeper waits as long as the CA asked for, and says why', async () => {
    const first = new Rig();
    first.failure = new AcmeError('rateLimited', 'too many', Date.now() + 10 * HOUR);
    await first.keeper.look();
    await first.pass(0);
    first.keeper.stop();
    const second = new Rig(true, first.disk);
    await second.keeper.look();
    expect(second.lines).toEqual([
      'warn: the last order brought no certificate, and the next one waits (to make it now, remove /certs/record and reload): too many',
    ]);
    expect([second.keeper.trouble, second.keeper.failures]).toEqual(['too many', 1]);
    expect(second.keeper.want()).toBe(false);
    await second.pass(9 * HOUR);
    expect(second.orders).toEqual([]);
    await second.pass(2 * HOUR);
    expect(second.orders).toHaveLength(1);
    expect(second.disk.attempt).toBeUndefined();
  });

  it('a restarted keeper serves a certificate that is due, and waits with the renewal', async () => {
    const disk = new Disk();
    disk.attempt = { failures: 4, next: Date.now() + HOUR, trouble: 'no' };
    const rig = new Rig(true, disk);
    rig.kept = certificate(90, 70);
    await rig.keeper.look();
    expect(rig.keeper.certificate).toBe(rig.kept);
    await rig.pass(59 * MINUTE);
    expect(rig.orders).toEqual([]);
    await rig.pass(2 * MINUTE);
    expect(rig.orders).toHaveLength(1);
  });

  it('a restarted keeper ignores the record of failures if its certificate is new', async () => {
    const disk = new Disk();
    disk.attempt = { failures: 4, next: Date.now() + HOUR, trouble: 'no' };
    const rig = new Rig(true, disk);
    rig.kept = certificate(90);
    await rig.keeper.look();
    expect([rig.keeper.failures, rig.keeper.trouble]).toEqual([0, '']);
    expect(rig.keeper.next).toBeGreaterThan(Date.now() + 59 * DAY);
  });

  it('a keeper orders at once if its record is removed, and not if the record cannot be read', async () => {
    const rig = new Rig();
    rig.failure = new Error('no');
    await rig.keeper.look();
    await rig.pass(0);
    rig.disk.isReadable = false;
    await rig.keeper.look();
    await rig.pass(0);
    expect(rig.orders).toHaveLength(1);
    rig.disk.isReadable = true;
    rig.disk.attempt = undefined;
    await rig.keeper.look();
    await rig.pass(0);
    expect(rig.orders).toHaveLength(2);
  });

  it('a keeper orders rarely if its certificates cannot be stored', async () => {
    const disk = new Disk();
    const orders: number[] = [];
    for (let start = 0; start < 360; start++) {
      const rig = new Rig(true, disk);
      rig.isFull = true;
      await rig.keeper.look();
      await rig.pass(10_000);
      rig.keeper.stop();
      orders.push(...rig.orders);
    }
    expect(orders).toHaveLength(5);
  });

  it('a keeper takes a later certificate from the files, and no earlier one', async () => {
    const rig = new Rig();
    const earlier = certificate(90, 61);
    rig.kept = earlier;
    rig.isFull = true;
    await rig.keeper.look();
    await rig.pass(0);
    // The new certificate cannot be kept, so the files still have the earlier one.
    const renewed = rig.keeper.certificate;
    expect(renewed).not.toBe(earlier);
    await rig.keeper.look();
    expect(rig.keeper.certificate).toBe(renewed);
    rig.kept = certificate(120);
    await rig.keeper.look();
    expect(rig.keeper.certificate).toBe(rig.kept);
  });

  it('a keeper that cannot write its record keeps its pauses while running', async () => {
    const rig = new Rig();
    rig.disk.isWritable = false;
    rig.failure = new Error('no');
    await rig.keeper.look();
    await rig.pass(HOUR);
    expect(rig.orders).toHaveLength(5);
    await rig.keeper.look();
    await rig.pass(0);
    expect(rig.orders).toHaveLength(5);
  });

  it('a keeper waits for another relay that orders, whatever the record says', async () => {
    const disk = new Disk();
    disk.attempt = { failures: 1, next: Date.now() + MINUTE, trouble: '' };
    const rig = new Rig(true, disk);
    rig.locked = true;
    await rig.keeper.look();
    expect(rig.keeper.want()).toBe(true);
    rig.kept = certificate(90);
    disk.attempt = undefined;
    await rig.pass(5000);
    expect(rig.keeper.certificate).toBe(rig.kept);
    expect(rig.orders).toEqual([]);
  });
});

describe('the record of the last order', () => {
  const CA = 'https://ca.test/directory';
  const attempt = { failures: 3, next: 5000, trouble: 'too many "orders"\n' };

  it('a record keeps its contents, within bounds', () => {
    expect(parseAttempt(formatAttempt(CA, attempt), CA, 9000)).toEqual(attempt);
    const long = formatAttempt(CA, { failures: 1e9, next: 1e15, trouble: 'x'.repeat(1e6) });
    expect(long.length).toBeLessThan(3000);
    expect(parseAttempt(long, CA, 9000)).toEqual({ failures: 100, next: 9000, trouble: 'x'.repeat(2000) });
  });

  it.each([
    ['another authority', formatAttempt('https://other.test', attempt)],
    ['nothing', ''],
    ['half of a record', formatAttempt(CA, attempt).slice(0, 40)],
    ['null', 'null'],
    ['a list', '[]'],
    ['a number in words', formatAttempt(CA, attempt).replace('5000', '"soon"')],
    ['no number of failures', formatAttempt(CA, attempt).replace('3', '3.5')],
    ['zeros', '\0'.repeat(100)],
    ['far too much', `${' '.repeat(20_000)}${formatAttempt(CA, attempt)}`],
  ])('a record counts as none with %s', (_what, text) => {
    expect(parseAttempt(text, CA, 9000)).toBeUndefined();
  });
});

describe('the pause after a failure', () => {
  it.each([
    [1, 0, MINUTE],
    [2, 0, 3 * MINUTE],
    [3, 0, 9 * MINUTE],
    [20, 0, 180 * MINUTE],
    [1, 1, 1.2 * MINUTE],
  ])('the pause grows with the number of failures: %d', (failures, random, pause) => {
    expect(nextAttempt(BACK_OFF, failures, 1000, undefined, () => random)).toBe(1000 + pause);
  });

  it('the pause is as long as the CA asks, up to a day', () => {
    expect(nextAttempt(BACK_OFF, 1, 0, 5 * HOUR, () => 0)).toBe(5 * HOUR);
    expect(nextAttempt(BACK_OFF, 1, 0, 500 * HOUR, () => 0)).toBe(DAY);
  });
});
