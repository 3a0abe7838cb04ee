import { PassThrough } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { METRICS_LISTENER, SCRAPERS, Visitors } from '../../../src/http/visitors.js';

const NEAR = '100.64.0.1';
const NONE = { address: 0, pool: 0 };

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

  it('only the listener of the metrics has few places, whatever the limits are', () => {
    const { visitors, come } = world({ duplexes: 1000, perAddress: 1000, exempt: [] });
    for (let count = 0; count <= SCRAPERS; count++) come('192.0.2.1');
    expect(visitors.evicted).toEqual(NONE);
    for (let count = 0; count <= SCRAPERS; count++) come('192.0.2.1', METRICS_LISTENER);
    expect(visitors.evicted).toEqual({ address: 0, pool: 1 });
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

  it('visitors in reserve do not count in the share of their address', () => {
    const { visitors, come } = world({ duplexes: 1, perAddress: 1, exempt: [] });
    come('192.0.2.1');
    const near = [come(NEAR), come(NEAR)];
    expect(near.map(({ place }) => place !== undefined)).toEqual([true, true]);
    expect([visitors.evicted, visitors.refused]).toEqual([NONE, NONE]);
  });

  it('an address whose share is full is named, whether its visitor was refused or took the place of another', () => {
    const { visitors, come } = world({ duplexes: 100, perAddress: 1, exempt: [] });
    const { place } = come('192.0.2.1');
    expect(visitors.crowded).toBeUndefined();
    come('192.0.2.1');
    expect([visitors.crowded, visitors.refused]).toEqual(['192.0.2.1', { address: 1, pool: 0 }]);
    visitors.crowded = undefined;
    // It is there for so long that it makes room.
    place?.touch(-10_000);
    come('192.0.2.1');
    expect([visitors.crowded, visitors.evicted]).toEqual(['192.0.2.1', { address: 1, pool: 0 }]);
  });

  it('no address is named for a full pool, whether a visitor was refused or took the place of another', () => {
    const { visitors, come } = world({ duplexes: 1, perAddress: 100, exempt: [] });
    come('192.0.2.1');
    come('192.0.2.2');
    expect([visitors.evicted.pool, visitors.crowded]).toEqual([1, undefined]);
    const closed = world({ duplexes: 0, perAddress: 100, exempt: [] });
    expect(closed.come('192.0.2.1').place).toBeUndefined();
    expect([closed.visitors.refused.pool, closed.visitors.crowded]).toEqual([1, undefined]);
  });

  it('a visitor that was refused leaves nothing that waits for its end', () => {
    const { come } = world({ duplexes: 0, perAddress: 100, exempt: [] });
    expect(come('192.0.2.1').stream.listenerCount('close')).toBe(new PassThrough().listenerCount('close'));
  });

  it('the metrics listener has 32 places, and none of the reserve', () => {
    const { visitors, come } = world({ duplexes: 100, perAddress: 100, exempt: [] });
    const scrapers = [...Array(SCRAPERS)].map(() => come(NEAR, METRICS_LISTENER));
    expect(SCRAPERS).toBe(32);
    expect(visitors.evicted).toEqual(NONE);
    come(NEAR, METRICS_LISTENER);
    expect(visitors.evicted).toEqual({ address: 0, pool: 1 });
    expect(scrapers.map(({ stream }) => stream.destroyed).indexOf(true)).toBe(0);
    expect(scrapers.filter(({ stream }) => stream.destroyed)).toHaveLength(1);
  });

  it('the metrics listener has no more places than a listener has', () => {
    const { visitors, come } = world();
    for (let count = 0; count < 3; count++) come(NEAR, METRICS_LISTENER);
    expect(visitors.evicted).toEqual({ address: 0, pool: 1 });
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
