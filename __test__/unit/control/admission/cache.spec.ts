import { describe, expect, it } from 'vitest';
import { AnswerCache } from '../../../../src/control/admission/cache.js';

const TIMES = { allow: 100, deny: 10, grace: 1000 };

describe('AnswerCache', () => {
  it('the cache keeps the last answer for its time', () => {
    const cache = new AnswerCache(TIMES);
    expect(cache.fresh('a', 0)).toBeUndefined();
    cache.allow('a', 0);
    expect([cache.fresh('a', 99), cache.fresh('a', 100)]).toEqual([true, undefined]);
    cache.deny('a', 'no', 50);
    expect([cache.fresh('a', 59), cache.fresh('a', 60)]).toEqual(['no', undefined]);
    cache.allow('a', 55);
    expect(cache.fresh('a', 56)).toBe(true);
  });

  it('the grace starts at the first failure, and ends at an answer', () => {
    const cache = new AnswerCache(TIMES);
    expect(cache.inGrace('a', 0)).toBe(false);
    cache.allow('a', 0);
    expect(cache.inGrace('a', 500)).toBe(true);
    // It is asked of each time now: the verifier may be back.
    expect(cache.fresh('a', 50)).toBeUndefined();
    expect([cache.inGrace('a', 1499), cache.inGrace('a', 1500)]).toEqual([true, false]);
    cache.allow('a', 1500);
    expect(cache.inGrace('a', 1501)).toBe(true);
    cache.deny('a', 'no', 1502);
    expect(cache.inGrace('a', 1503)).toBe(false);
  });

  it('an old answer does not count in a grace', () => {
    const cache = new AnswerCache(TIMES);
    cache.allow('a', 0);
    expect(cache.inGrace('a', 1101)).toBe(false);
  });

  it('an answer counts in a grace up to the end of both times', () => {
    const cache = new AnswerCache(TIMES);
    cache.allow('a', 0);
    expect(cache.inGrace('a', 1100)).toBe(true);
  });

  it('the cache keeps an admission for either of its times', () => {
    const forGrace = new AnswerCache({ allow: 0, deny: 0, grace: 1000 });
    forGrace.allow('a', 5);
    expect([forGrace.fresh('a', 5), forGrace.inGrace('a', 500)]).toEqual([undefined, true]);
    const forAllow = new AnswerCache({ allow: 100, deny: 0, grace: 0 });
    forAllow.allow('a', 5);
    expect([forAllow.fresh('a', 5), forAllow.inGrace('a', 50)]).toEqual([true, false]);
  });

  it('the cache has room for 4096 refusals and 65,536 admissions', () => {
    const cache = new AnswerCache(TIMES);
    for (let client = 0; client < 4096; client++) cache.deny(`${client}`, 'no', 0);
    expect(cache.fresh('0', 1)).toBe('no');
    cache.deny('4096', 'no', 0);
    expect([cache.fresh('0', 1), cache.fresh('1', 1)]).toEqual([undefined, 'no']);
    for (let client = 0; client < 65_536; client++) cache.allow(`${client}`, 0);
    expect(cache.fresh('0', 1)).toBe(true);
  });

  it('without times, the cache keeps nothing', () => {
    const cache = new AnswerCache({ allow: 0, deny: 0, grace: 0 });
    cache.allow('a', 0);
    expect([cache.fresh('a', 0), cache.inGrace('a', 0)]).toEqual([undefined, false]);
    cache.deny('a', 'no', 0);
    expect(cache.fresh('a', 0)).toBeUndefined();
  });

  it('an outdated cache has no answers, except for the grace', () => {
    const cache = new AnswerCache(TIMES);
    cache.allow('friend', 0);
    cache.deny('stranger', 'no', 0);
    cache.outdate();
    expect([cache.fresh('friend', 1), cache.fresh('stranger', 1)]).toEqual([undefined, undefined]);
    expect([cache.inGrace('friend', 1), cache.inGrace('stranger', 1)]).toEqual([true, false]);
    cache.allow('friend', 2);
    expect(cache.fresh('friend', 3)).toBe(true);
  });

  it('the cache is bounded, and refused strangers push out no admitted client', () => {
    const cache = new AnswerCache(TIMES);
    cache.allow('friend', 0);
    for (let stranger = 0; stranger < 5000; stranger++) cache.deny(`${stranger}`, 'no', 0);
    expect(cache.fresh('friend', 1)).toBe(true);
    expect(cache.fresh('0', 1)).toBeUndefined();
    expect(cache.fresh('4999', 1)).toBe('no');
    for (let friend = 0; friend < 65_536; friend++) cache.allow(`friend ${friend}`, 0);
    expect(cache.fresh('friend', 1)).toBeUndefined();
  });
});
