import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { Visitors } from '../../../src/http/visitors.js';

const NEAR = '100.64.0.1';

function world(limits = { duplexes: 2, perAddress: 100, exempt: [] as string[] }) {
  const visitors = new Visitors(
    () => limits,
    (address) => address === NEAR,
  );
  const come = (address: string, listener = 1) => {
    const stream = new PassThrough();
    const place = visitors.enter(stream, { listener, peer: { address, port: 1 }, tlsVersion: null });
    return { stream, place };
  };
  return { visitors, come };
}

describe('places for visitors', () => {
  it('a new visitor takes the place of the visitor that was idle longest', () => {
    const { visitors, come } = world();
    const [first, second] = [come('192.0.2.1'), come('192.0.2.2')];
    first.place?.touch(performance.now());
    come('192.0.2.3');
    expect([first, second].map(({ stream }) => stream.destroyed)).toEqual([false, true]);
    expect(visitors.evicted).toEqual({ address: 0, pool: 1 });
    // Another listener has places of its own.
    come('192.0.2.4', 2);
    expect(visitors.evicted.pool).toBe(1);
  });

  it('visitors with access to /debug/ have places in reserve, which other visitors do not take', () => {
    const { visitors, come } = world();
    const strangers = [come('192.0.2.1'), come('192.0.2.2')];
    const near = [...Array(64)].map(() => come(NEAR));
    for (let more = 0; more < 200; more++) come(`198.51.100.${more}`);
    expect(near.filter(({ stream }) => stream.destroyed)).toEqual([]);
    expect(strangers.filter(({ stream }) => !stream.destroyed)).toEqual([]);
    expect(visitors.evicted.pool).toBe(200);
    // Beyond the reserve, such a visitor counts like any other.
    come(NEAR);
    expect(visitors.evicted.pool).toBe(201);
    expect(near.filter(({ stream }) => stream.destroyed)).toEqual([]);
  });

  it('a visitor with access to /debug/ enters even if the share of its address is full', () => {
    const { visitors, come } = world({ duplexes: 100, perAddress: 2, exempt: [] });
    expect([1, 2, 3].map(() => come('192.0.2.1').place !== undefined)).toEqual([true, true, false]);
    expect([1, 2, 3].map(() => come(NEAR).place !== undefined)).toEqual([true, true, true]);
    expect(visitors.refused).toEqual({ address: 1, pool: 0 });
  });

  it('a visitor gives its place back when its stream closes', async () => {
    const { visitors, come } = world();
    const { stream } = come('192.0.2.1');
    come('192.0.2.2');
    await new Promise((resolve) => stream.once('close', resolve).destroy());
    come('192.0.2.3');
    expect(visitors.evicted.pool).toBe(0);
  });
});
