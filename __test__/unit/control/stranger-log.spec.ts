import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type StrangerFigures, StrangerLog, strangerFigures } from '../../../src/control/stranger-log.js';

const figures = (evicted: number, refused: number): StrangerFigures => ({
  evicted: { address: 0, pool: evicted },
  refused: { address: refused, pool: 0 },
});

describe('the log of strangers', () => {
  it('the log has at most one line a minute, about what happened since the last', () => {
    let now = figures(0, 0);
    const said: StrangerFigures[] = [];
    const log = new StrangerLog(
      () => now,
      () => 256,
      ({ evicted, refused }) => said.push({ evicted, refused }),
    );
    log.look(1000);
    expect(said).toEqual([]);
    now = figures(3, 1);
    log.look(6000);
    now = figures(10, 2);
    log.look(11_000);
    log.look(65_999);
    expect(said).toEqual([figures(3, 1)]);
    log.look(66_000);
    log.look(200_000);
    expect(said).toEqual([figures(3, 1), figures(7, 1)]);
  });

  it('the log names the setting and an address if one address exceeds its share', () => {
    let now = figures(0, 0);
    const said: [object, string][] = [];
    const log = new StrangerLog(
      () => now,
      () => 256,
      (news, text) => said.push([news, text]),
    );
    now = figures(3, 0);
    log.look(1000);
    now = figures(3, 344);
    log.crowded('192.0.2.7');
    log.look(61_000);
    now = figures(3, 345);
    log.look(121_000);
    expect(said.map(([news]) => news)).toEqual([
      figures(3, 0),
      { addr: '192.0.2.7', perAddress: 256, ...figures(0, 344) },
      { perAddress: 256, ...figures(0, 1) },
    ]);
    expect(said.map(([, text]) => /limits\.perAddress.*limits\.exempt/.test(text))).toEqual([false, true, true]);
    expect(said.map(([, text]) => /strangers come faster/.test(text))).toEqual([true, false, false]);
    // Where no address is known, none is named.
    expect(said[2]?.[0]).not.toHaveProperty('addr');
  });

  const SHARE = /^more connections of one address come/;
  const POOL = /^strangers come faster/;
  it.each<[string, StrangerFigures, RegExp]>([
    ['both evictions', { evicted: { address: 1, pool: 1 }, refused: { address: 0, pool: 0 } }, SHARE],
    ['a full pool and a full share', { evicted: { address: 0, pool: 1 }, refused: { address: 1, pool: 0 } }, SHARE],
    ['both refusals', { evicted: { address: 0, pool: 0 }, refused: { address: 1, pool: 1 } }, SHARE],
    ['a full share', { evicted: { address: 1, pool: 0 }, refused: { address: 1, pool: 0 } }, SHARE],
    ['a full pool', { evicted: { address: 0, pool: 0 }, refused: { address: 0, pool: 1 } }, POOL],
  ])('the log says once what was full: %s', (_what, now, expected) => {
    const said: string[] = [];
    const log = new StrangerLog(
      () => now,
      () => 256,
      (_news, text) => said.push(text),
    );
    log.look(1_000);
    log.look(61_000);
    expect(said).toEqual([expect.stringMatching(expected)]);
  });
});

describe('the figures of strangers', () => {
  it('the figures of strangers are those of the plane and of the HTTP server together', () => {
    const counters = {
      'strangers_evicted:address': 1,
      'strangers_evicted:pool': 2,
      'strangers_refused:address': 3,
      'strangers_refused:pool': 4,
    } as Parameters<typeof strangerFigures>[0];
    const visitors = { evicted: { address: 10, pool: 20 }, refused: { address: 30, pool: 40 } };
    expect(strangerFigures(counters, visitors)).toEqual({
      evicted: { address: 11, pool: 22 },
      refused: { address: 33, pool: 44 },
    });
  });

  it('the log looks at the figures every five seconds, until a stop', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    onTestFinished(() => {
      vi.useRealTimers();
    });
    let looks = 0;
    const log = new StrangerLog(
      () => {
        looks += 1;
        return figures(0, 0);
      },
      () => 256,
      () => {},
    );
    log.start();
    vi.advanceTimersByTime(10_000);
    expect(looks).toBe(2);
    log.stop();
    vi.advanceTimersByTime(10_000);
    expect(looks).toBe(2);
  });
});
