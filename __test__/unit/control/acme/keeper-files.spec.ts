/** A keeper and what it shares with other relays, or leaves to its successor: locks, certificates and records. */
import { describe, expect, it, vi } from 'vitest';
import { BEGIN, certificate, DAY, Disk, HOUR, MINUTE, NAME, Rig, stopTheClock } from '../keeper-rig.js';

stopTheClock();

/** Tells whether the order, or the wait for that of another relay, has ended. */
function watch(rig: Rig): { isSettled: boolean } {
  const seen = { isSettled: false };
  void rig.keeper.settled().then(() => {
    seen.isSettled = true;
  });
  return seen;
}

/** A disk with what an order of another process has left. */
function diskWith(failures: number, next: number, trouble: string): Disk {
  const disk = new Disk();
  disk.attempt = { failures, next, trouble };
  return disk;
}

describe('the lock of a keeper', () => {
  it('a keeper releases the lock when the outcome is in the files', async () => {
    const rig = new Rig();
    rig.failure = new Error('no');
    await rig.look();
    expect(rig.released).toEqual([{ failures: 1, next: BEGIN + MINUTE, trouble: 'no' }]);
    rig.failure = undefined;
    await rig.pass(MINUTE);
    expect(rig.orders).toHaveLength(2);
    expect(rig.released.slice(1)).toEqual([undefined]);
  });

  it('a keeper orders even if the lock cannot be made, and says so', async () => {
    const rig = new Rig();
    rig.lockFailure = new Error('read-only');
    await rig.look();
    expect(rig.lines).toEqual([
      'warn: the certificate directory cannot be written to: read-only',
      'info: ordering a certificate',
      'info: there is a new certificate',
    ]);
    expect(rig.facts[0]).toEqual({ name: NAME, reason: 'read-only' });
    expect([rig.keeper.failures, rig.keeper.isUsable]).toEqual([0, true]);
  });

  it('a keeper whose certificate is due waits until the other relay has a newer one', async () => {
    const rig = new Rig();
    rig.locked = true;
    rig.kept = certificate(90, 61);
    await rig.look();
    const seen = watch(rig);
    // The next one is due at the moment at which the keeper sees it.
    rig.kept = certificate(90, 60 - 2000 / DAY);
    await rig.pass(MINUTE);
    expect(rig.keeper.certificate).toBe(rig.kept);
    expect(seen.isSettled).toBe(false);
    rig.kept = certificate(90);
    await rig.pass(2000);
    expect(seen.isSettled).toBe(true);
    expect(rig.keeper.certificate).toBe(rig.kept);
    expect([rig.orders, rig.keeper.failures]).toEqual([[], 0]);
  });

  it('a keeper that is stopped while it waits for another relay ends the wait', async () => {
    const rig = new Rig();
    rig.locked = true;
    await rig.look();
    const seen = watch(rig);
    rig.keeper.stop();
    rig.locked = false;
    await rig.pass(2000);
    expect(seen.isSettled).toBe(true);
    expect(rig.orders).toEqual([]);
  });
});

describe('the certificate in the files', () => {
  it('a keeper says once for each reason that it cannot use the files', async () => {
    const rig = new Rig(false);
    for (const reason of ['two keys', 'two keys', 'no key']) {
      rig.loadFailure = new Error(reason);
      await rig.look();
    }
    const line = 'warn: a certificate in the files cannot be used';
    expect(rig.lines).toEqual([`${line}: two keys`, `${line}: no key`]);
    expect(rig.facts[0]).toEqual({ name: NAME, reason: 'two keys' });
  });

  it('a certificate that is read again is no change', async () => {
    const rig = new Rig();
    rig.kept = certificate(90);
    await rig.look();
    await rig.look();
    expect(rig.changes).toBe(1);
  });

  it('a keeper takes another certificate that expires at the same moment', async () => {
    const rig = new Rig();
    rig.kept = certificate(90);
    await rig.look();
    rig.kept = certificate(90);
    await rig.look();
    expect(rig.keeper.certificate).toBe(rig.kept);
    expect(rig.changes).toBe(2);
  });

  it('a keeper does not look into the files while it orders', async () => {
    const rig = new Rig();
    rig.hangs = true;
    await rig.look();
    rig.kept = certificate(90);
    await rig.look();
    expect(rig.keeper.certificate).toBeUndefined();
  });

  it('a stopped keeper takes nothing from the files, and orders for no client', async () => {
    const rig = new Rig(true, diskWith(4, BEGIN + HOUR, 'no'));
    rig.keeper.stop();
    rig.kept = certificate(90);
    await rig.look();
    expect([rig.keeper.certificate, rig.keeper.failures, rig.lines]).toEqual([undefined, 0, []]);
    expect(rig.keeper.want()).toBe(false);
    expect(rig.orders).toEqual([]);
  });

  it.each(['brings a certificate', 'fails'])('an order that %s after the stop has no effect', async (how) => {
    const rig = new Rig();
    let end: () => void = () => undefined;
    rig.gate = new Promise((resolve, reject) => {
      end = () => (how === 'fails' ? reject(new Error('no')) : resolve());
    });
    await rig.look();
    rig.keeper.stop();
    end();
    await rig.keeper.settled();
    expect(rig.lines).toEqual(['info: ordering a certificate']);
    expect([rig.keeper.certificate, rig.keeper.failures, rig.changes]).toEqual([undefined, 0, 0]);
    // To its successor, the order was not finished.
    expect(rig.disk.attempt?.trouble).toBe('');
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the record of an order', () => {
  it('the record says that an order is under way, and when the next one may be made', async () => {
    const rig = new Rig();
    rig.hangs = true;
    await rig.look();
    expect(rig.disk.attempt).toEqual({ failures: 1, next: BEGIN + MINUTE, trouble: '' });
  });

  it('a keeper says that the last order was not finished, and waits', async () => {
    const rig = new Rig(true, diskWith(1, BEGIN + MINUTE, ''));
    await rig.look();
    expect(rig.keeper.trouble).toBe('it was not finished');
    expect(rig.lines).toEqual([
      'warn: the last order brought no certificate, and the next one waits (to make it now, remove /certs/record and reload): it was not finished',
    ]);
    const next = new Date(BEGIN + MINUTE).toISOString();
    expect(rig.facts).toEqual([{ name: NAME, next, reason: 'it was not finished' }]);
    expect(rig.orders).toEqual([]);
    await rig.pass(MINUTE);
    expect(rig.orders).toHaveLength(1);
  });

  it('a keeper orders at once if the pause has passed while it did not run, and counts on', async () => {
    const rig = new Rig(true, diskWith(3, BEGIN, 'no'));
    rig.failure = new Error('no');
    await rig.look();
    expect(rig.lines).toEqual(['info: ordering a certificate', 'error: there is no new certificate: no']);
    expect(rig.keeper.failures).toBe(4);
  });

  it('a keeper whose certificate is due at this moment waits as long as the record says', async () => {
    const rig = new Rig(true, diskWith(4, BEGIN + HOUR, 'no'));
    rig.kept = certificate(90, 60);
    await rig.look();
    expect(rig.orders).toEqual([]);
    expect(rig.keeper.next).toBe(BEGIN + HOUR);
  });

  it.each([
    ['with a certificate', 61],
    ['without one', undefined],
  ])('a keeper %s takes over what the orders of another relay have come to', async (_what, age) => {
    const rig = new Rig();
    if (age !== undefined) rig.kept = certificate(90, age);
    rig.failure = new Error('no');
    await rig.look();
    const state = () => [rig.keeper.failures, rig.keeper.next, rig.keeper.trouble];
    expect(state()).toEqual([1, BEGIN + MINUTE, 'no']);
    rig.lines = [];
    rig.disk.attempt = { failures: 1, next: BEGIN + 10 * HOUR, trouble: 'too many' };
    await rig.look();
    expect(state()).toEqual([1, BEGIN + 10 * HOUR, 'too many']);
    // It has said that.
    await rig.look();
    expect(rig.lines).toHaveLength(1);
    rig.disk.attempt = { failures: 6, next: BEGIN + 5 * HOUR, trouble: 'still no' };
    await rig.look();
    expect(state()).toEqual([6, BEGIN + 10 * HOUR, 'still no']);
  });

  it('a keeper orders at once if the record of another process is removed', async () => {
    const rig = new Rig(true, diskWith(4, BEGIN + HOUR, 'no'));
    await rig.look();
    expect(rig.orders).toEqual([]);
    rig.disk.attempt = undefined;
    await rig.look();
    expect(rig.orders).toEqual([BEGIN]);
  });

  it('a keeper that is not eager forgets its trouble if the record is removed', async () => {
    const rig = new Rig(false, diskWith(4, BEGIN + HOUR, 'no'));
    await rig.look();
    expect([rig.keeper.failures, rig.keeper.trouble]).toEqual([4, 'no']);
    rig.disk.attempt = undefined;
    await rig.look();
    expect([rig.keeper.failures, rig.keeper.trouble]).toEqual([0, '']);
    expect(rig.keeper.plan).toBe('ordered when a client asks');
  });

  it('a keeper renews in time if the record of an early renewal that failed is removed', async () => {
    const rig = new Rig();
    rig.kept = certificate(90);
    rig.failure = new Error('no');
    rig.suggestion = () => ({ at: BEGIN, askAt: BEGIN + DAY, explanation: undefined });
    await rig.look();
    await rig.pass(1000);
    expect(rig.orders).toHaveLength(1);
    rig.suggestion = undefined;
    rig.disk.attempt = undefined;
    await rig.look();
    expect([rig.keeper.failures, rig.keeper.next]).toEqual([0, BEGIN + 60 * DAY]);
    expect(rig.orders).toHaveLength(1);
  });

  it('a look keeps the moment that the CA suggested', async () => {
    const rig = new Rig();
    const at = BEGIN + 5 * DAY;
    rig.suggestion = () => (rig.asked.length === 1 ? { at, askAt: at, explanation: undefined } : undefined);
    await rig.look();
    await rig.pass(1000);
    expect(rig.keeper.next).toBe(at);
    await rig.look();
    expect(rig.keeper.next).toBe(at);
  });

  it('a keeper that cannot write its record keeps its pauses, however often it looks', async () => {
    const rig = new Rig();
    rig.disk.isWritable = false;
    rig.failure = new Error('no');
    for (const _ of [1, 2, 3]) await rig.look();
    expect(rig.orders).toHaveLength(1);
    expect(rig.keeper.failures).toBe(1);
  });
});
