/** One certificate over months: when it is ordered, when not, and how often a CA is asked. */
import { describe, expect, it } from 'vitest';
import { AcmeError } from '../../../src/acme/problem.js';
import { certificate, DAY, Disk, HOUR, MINUTE, Rig, stopTheClock } from './keeper-rig.js';

stopTheClock();

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
