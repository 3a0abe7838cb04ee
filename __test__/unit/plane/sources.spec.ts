/** Whose departure a connection is told: of the latest senders, a bounded number. */
import { describe, expect, it } from 'vitest';
import type { Connection } from '../../../src/plane/js/connection.js';
import { Sources } from '../../../src/plane/js/sources.js';
import { contextWith, keyOf, settled } from './context.js';

/** A connection, and the sources whose departure it would be told. */
function connected(changes: Parameters<typeof contextWith>[0] = {}) {
  const { context, log } = contextWith(changes);
  const connection = { id: 1, forgetSources: () => undefined } as unknown as Connection;
  const sources = new Sources(connection, context);
  const told = () => {
    const numbers = [...Array(20).keys()].filter((number) => [...context.table.takeSubscribers(keyOf(number))].length);
    for (const number of numbers) context.table.subscribe(keyOf(number), connection);
    return numbers;
  };
  return { context, log, sources, told, held: () => context.counters.read('held:peer_gone_pairs') };
}

describe('the sources of a connection', () => {
  it('a source is told once, however many packets it sends', () => {
    const { sources, told, context } = connected();
    for (const number of [1, 2, 1, 1]) sources.sent(keyOf(number));
    expect(told()).toEqual([1, 2]);
    expect([...context.table.takeSubscribers(keyOf(1))]).toHaveLength(1);
    sources.remove(keyOf(1));
    sources.sent(keyOf(1));
    expect(told()).toEqual([1, 2]);
  });

  it('the oldest source makes room for a new one', () => {
    const { sources, told } = connected({ limits: { peerGoneSubscriptions: 2 } });
    for (const number of [1, 2, 1, 3]) sources.sent(keyOf(number));
    expect(told()).toEqual([2, 3]);
    sources.sent(keyOf(4));
    expect(told()).toEqual([3, 4]);
  });

  it('a connection forgets as many of its oldest sources as it is told to, and all of them at its end', () => {
    const { sources, told, held } = connected();
    for (let number = 0; number < 12; number++) sources.sent(keyOf(number));
    expect(held()).toBe(12);
    sources.forget(2);
    expect(told()).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    expect(held()).toBe(10);
    sources.clear();
    expect([told(), held()]).toEqual([[], 0]);
    sources.sent(keyOf(1));
    sources.forget(5);
    expect(told()).toEqual([]);
  });

  it('a source that leaves is counted no more', () => {
    const { sources, held } = connected();
    for (let number = 0; number < 12; number++) sources.sent(keyOf(number));
    sources.remove(keyOf(3));
    expect(held()).toBe(11);
  });
});

describe('the number of senders', () => {
  it('senders are counted if the policy says so, those that have left too', () => {
    const { sources, context } = connected();
    sources.sent(keyOf(1));
    expect(sources.senders).toBe(0);
    context.policy = { ...context.policy, countSenders: true };
    expect(sources.senders).toBe(0);
    for (const number of [2, 3, 2]) sources.sent(keyOf(number));
    sources.remove(keyOf(2));
    expect(sources.senders).toBe(2);
    context.policy = { ...context.policy, countSenders: false };
    expect(sources.senders).toBe(0);
  });
});

describe('sources of other relays', () => {
  const lookups = {
    perSecond: 1,
    burst: 1,
    keys: 1,
    keysPerAddress: 1,
    bytes: 1,
    bytesPerAddress: 1,
    misses: 1,
    missTime: 1,
  };

  it('the first packet of a source without a connection here is reported, if keys are looked up', async () => {
    const { sources, context, log } = connected();
    sources.sent(keyOf(1));
    context.policy = { ...context.policy, lookups };
    context.table.add({ id: 2 } as Connection, keyOf(2));
    context.table.subscribe(keyOf(3), { id: 3 } as Connection);
    for (const number of [2, 3, 4, 4]) sources.sent(keyOf(number));
    await settled();
    expect(log).toEqual([`heard ${keyOf(4)}`]);
  });
});
