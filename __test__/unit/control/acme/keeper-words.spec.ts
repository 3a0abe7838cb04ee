/** What a keeper says about its certificate, in the log and on pages. */
import { describe, expect, it, vi } from 'vitest';
import { AcmeError } from '../../../../src/acme/problem.js';
import { BEGIN, certificate, DAY, MINUTE, NAME, Rig, stopTheClock } from '../keeper-rig.js';

stopTheClock();

const iso = (moment: number) => new Date(moment).toISOString();

describe('the plan of a keeper', () => {
  it('a keeper that is not eager says that it orders when a client asks', () => {
    const { keeper } = new Rig(false);
    expect([keeper.plan, keeper.trouble, keeper.isUsable]).toEqual(['ordered when a client asks', '', false]);
  });

  it('a keeper says when it renews, and renews at that moment', async () => {
    const rig = new Rig();
    await rig.keeper.look();
    expect(rig.keeper.plan).toBe('an order is under way');
    await rig.pass(0);
    expect(rig.keeper.plan).toBe(`renewed at ${iso(BEGIN + 60 * DAY)}`);
    await rig.pass(60 * DAY);
    expect(rig.orders).toEqual([BEGIN, BEGIN + 60 * DAY]);
  });

  it('a keeper renews at once a certificate that is due at this moment', async () => {
    const rig = new Rig();
    rig.kept = certificate(90, 60);
    await rig.keeper.look();
    expect(rig.keeper.plan).toBe('an order is under way');
  });

  it.each([
    ['that is eager', true, false, ''],
    ['that is not eager', false, false, ', when a client asks'],
    ['that has a certificate', false, true, ''],
  ])('a keeper %s says after a failure when it orders again', async (_what, eager, isHeld, when) => {
    const rig = new Rig(eager);
    rig.failure = new Error('no');
    if (isHeld) rig.kept = certificate(90, 61);
    await rig.look();
    rig.keeper.want();
    await rig.pass(0);
    expect(rig.keeper.plan).toBe(`ordered again at ${iso(BEGIN + MINUTE)}${when}`);
  });
});

describe('the log of a keeper', () => {
  it('a keeper logs an order and a renewal', async () => {
    const rig = new Rig();
    await rig.look();
    expect(rig.lines).toEqual(['info: ordering a certificate', 'info: there is a new certificate']);
    expect(rig.facts).toEqual([{ name: NAME }, { name: NAME, until: rig.keeper.certificate?.leaf.validTo }]);
    await rig.pass(60 * DAY);
    expect(rig.lines.slice(2)).toEqual(['info: renewing a certificate', 'info: there is a new certificate']);
  });

  it('a keeper logs why there is no certificate, and when it orders again', async () => {
    const rig = new Rig();
    rig.failure = new Error('no');
    await rig.look();
    expect(rig.lines).toEqual(['info: ordering a certificate', 'error: there is no new certificate: no']);
    expect(rig.facts[1]).toEqual({ name: NAME, next: iso(BEGIN + MINUTE), reason: 'no' });
  });

  it('a certificate is usable until the moment of its expiry, and is then no comfort', async () => {
    const rig = new Rig();
    rig.kept = certificate(1);
    rig.failure = new Error('no');
    await rig.keeper.look();
    vi.setSystemTime(BEGIN + DAY - 1);
    expect(rig.keeper.isUsable).toBe(true);
    vi.setSystemTime(BEGIN + DAY);
    expect(rig.keeper.isUsable).toBe(false);
    rig.keeper.want();
    await rig.pass(0);
    expect(rig.lines.at(-1)).toBe('error: there is no new certificate: no');
  });

  it('a keeper logs that its certificate cannot be kept', async () => {
    const rig = new Rig();
    rig.isFull = true;
    await rig.look();
    expect(rig.lines.at(-1)).toBe(
      'error: the certificate is served, but cannot be kept, and will be ordered again after a restart: the disk is full',
    );
    expect(rig.facts.at(-1)).toEqual({ name: NAME, reason: 'the disk is full' });
  });

  const REACHABLE =
    ' (is port 80 of this machine reachable from everywhere, or port 443, and does the name lead here?)';
  it.each([
    ['connection', REACHABLE],
    ['unauthorized', REACHABLE],
    ['incorrectResponse', REACHABLE],
    ['tls', REACHABLE],
    ['dns', ' (does the name resolve, everywhere?)'],
    ['rateLimited', ' (the CA has had too many orders; waiting is all that helps)'],
    ['externalAccountRequired', ' (the CA wants an external account: acme.eabKid and acme.eabKeyFile)'],
    ['malformed', ''],
    ['', ''],
  ])('a keeper says what to check after an error of the type %j', async (type, advice) => {
    const rig = new Rig();
    rig.failure = new AcmeError(type, 'no');
    await rig.look();
    expect(rig.lines.at(-1)).toBe(`error: there is no new certificate: no${advice}`);
    // On pages, the reason stands alone.
    expect(rig.keeper.trouble).toBe('no');
  });
});
