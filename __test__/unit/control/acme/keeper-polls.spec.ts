/** A keeper over the hours: its polls of the CA for a suggestion, and the clock of a machine that sleeps. */
import { describe, expect, it, vi } from 'vitest';
import type { Suggestion } from '../../../../src/acme/renewal.js';
import { BEGIN, certificate, DAY, HOUR, MINUTE, NAME, Rig, stopTheClock } from '../keeper-rig.js';

stopTheClock();

const WHY = 'https://ca.test/why';

/** A keeper with a certificate that is renewed in 60 days, unless the CA suggests another moment. */
function withCertificate(eager = true): Rig {
  const rig = new Rig(eager);
  rig.kept = certificate(90);
  return rig;
}

/** The first poll is answered when the test says so; later ones get no suggestion. */
function answerLater(rig: Rig): (suggestion: Suggestion) => void {
  let answer: (suggestion: Suggestion) => void = () => undefined;
  const first = new Promise<Suggestion>((resolve) => {
    answer = resolve;
  });
  rig.suggestion = () => (rig.asked.length === 1 ? first : undefined);
  return answer;
}

const offsets = (moments: readonly number[]) => moments.map((moment) => moment - BEGIN);

describe('the polls of a keeper', () => {
  it.each([
    ['makes no suggestion', () => undefined],
    [
      'cannot be reached',
      () => {
        throw new Error('no route');
      },
    ],
  ])('a keeper polls a CA that %s every six hours', async (_what, suggestion) => {
    const rig = withCertificate();
    rig.suggestion = suggestion;
    await rig.look();
    await rig.pass(DAY);
    expect(offsets(rig.asked)).toEqual([0, 6 * HOUR, 12 * HOUR, 18 * HOUR, DAY]);
    expect(rig.keeper.next).toBe(BEGIN + 60 * DAY);
    expect(rig.lines).toEqual([]);
  });

  it('a keeper polls as often as the CA wants', async () => {
    const rig = withCertificate();
    rig.suggestion = () => ({ at: BEGIN + 50 * DAY, askAt: Date.now() + HOUR, explanation: undefined });
    await rig.look();
    await rig.pass(3 * HOUR);
    expect(offsets(rig.asked)).toEqual([0, HOUR, 2 * HOUR, 3 * HOUR]);
    // Without an explanation, there is nothing to log.
    expect(rig.lines).toEqual([]);
  });

  it('a keeper logs once why the CA wants an earlier renewal', async () => {
    const rig = withCertificate();
    rig.suggestion = () => ({ at: BEGIN + 5 * DAY, askAt: Date.now() + HOUR, explanation: WHY });
    await rig.look();
    await rig.pass(DAY);
    expect(rig.keeper.next).toBe(BEGIN + 5 * DAY);
    expect(rig.lines).toEqual(['info: the certificate authority wants a renewal']);
    expect(rig.facts).toEqual([{ name: NAME, explanation: WHY }]);
  });

  it('a keeper renews later without a word if the CA wants that', async () => {
    const rig = withCertificate();
    rig.suggestion = () => ({ at: BEGIN + 70 * DAY, askAt: Date.now() + HOUR, explanation: WHY });
    await rig.look();
    expect(rig.keeper.next).toBe(BEGIN + 70 * DAY);
    expect(rig.lines).toEqual([]);
  });

  it('a suggestion does not shorten the pauses after failures', async () => {
    const rig = withCertificate();
    rig.failure = new Error('no');
    // Nor does a record, of which there is none.
    rig.disk.isWritable = false;
    rig.suggestion = () => ({ at: BEGIN, askAt: Date.now() + MINUTE, explanation: undefined });
    await rig.look();
    await rig.pass(HOUR - MINUTE);
    // A look polls at once, during a pause too.
    await rig.look();
    await rig.pass(MINUTE);
    expect(rig.asked.length).toBeGreaterThan(1);
    expect(rig.orders).toHaveLength(5);
  });

  it('a suggestion for a certificate that was replaced meanwhile is ignored', async () => {
    const rig = withCertificate();
    const answer = answerLater(rig);
    await rig.look();
    rig.kept = certificate(120);
    await rig.keeper.look();
    answer({ at: BEGIN, askAt: BEGIN + DAY, explanation: undefined });
    await rig.pass(MINUTE);
    expect(rig.keeper.next).toBe(BEGIN + 90 * DAY);
    expect(rig.asked).toHaveLength(2);
    expect(rig.orders).toEqual([]);
  });

  it('a look polls again, even if an earlier poll is answered after it', async () => {
    const rig = withCertificate();
    const answer = answerLater(rig);
    await rig.look();
    await rig.pass(1000);
    await rig.keeper.look();
    answer({ at: BEGIN + 50 * DAY, askAt: BEGIN + DAY, explanation: undefined });
    await rig.pass(MINUTE);
    expect(offsets(rig.asked)).toEqual([0, 1000]);
    expect(rig.keeper.next).toBe(BEGIN + 50 * DAY);
  });

  it('a keeper that was stopped meanwhile ignores a suggestion, and sets no timer', async () => {
    const rig = withCertificate();
    const answer = answerLater(rig);
    await rig.look();
    rig.keeper.stop();
    answer({ at: BEGIN, askAt: BEGIN, explanation: WHY });
    await rig.pass(0);
    expect(rig.keeper.next).toBe(BEGIN + 60 * DAY);
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe('the clock of a keeper', () => {
  it('a keeper notices within half an hour that the machine has slept past a renewal', async () => {
    const rig = withCertificate();
    await rig.look();
    vi.setSystemTime(BEGIN + 61 * DAY);
    await rig.pass(HOUR / 2 - 1);
    expect(rig.orders).toEqual([]);
    await rig.pass(1);
    expect(rig.orders).toHaveLength(1);
  });

  it('a keeper that is not eager renews its certificate in time', async () => {
    const rig = withCertificate(false);
    await rig.look();
    await rig.pass(60 * DAY);
    expect(offsets(rig.orders)).toEqual([60 * DAY]);
  });

  it('a keeper lets half of a short lifetime pass between two orders', async () => {
    const rig = new Rig();
    // Of an hour and a half, of which one hour is over: clocks may differ.
    rig.days = 1 / 48;
    await rig.look();
    await rig.pass(90 * MINUTE);
    expect(offsets(rig.orders)).toEqual([0, 45 * MINUTE, 90 * MINUTE]);
  });

  it('a keeper has no timer while an order is under way, and none after its stop', async () => {
    const rig = new Rig();
    rig.hangs = true;
    await rig.look();
    expect(vi.getTimerCount()).toBe(0);
    const second = withCertificate();
    await second.look();
    expect(vi.getTimerCount()).toBe(1);
    second.keeper.stop();
    await second.keeper.look();
    expect(vi.getTimerCount()).toBe(0);
  });
});
