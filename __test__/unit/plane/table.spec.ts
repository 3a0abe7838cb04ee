import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Connection } from '../../../src/plane/js/connection.js';
import { EventQueue } from '../../../src/plane/js/events.js';
import { Table } from '../../../src/plane/js/table.js';
import { connectionOf, eventLog, keyOf } from './context.js';

const alice = keyOf(1);
const bob = keyOf(2);
const first = connectionOf(1);
const second = connectionOf(2);
const third = connectionOf(3);

describe('the forwarding table', () => {
  let table: Table<Connection>;
  let reported: string[];

  beforeEach(() => {
    vi.useFakeTimers();
    const { log, events } = eventLog();
    reported = log;
    table = new Table<Connection>(new EventQueue(events));
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('the table leads to the only connection of a key until the connection leaves', () => {
    const entry = table.add(first, alice);
    expect(table.lookup(alice)).toBe(first);
    expect(table.lookup(bob)).toBeUndefined();
    table.remove(entry, first);
    expect(table.lookup(alice)).toBeUndefined();
  });

  it('the table leads to the newest of several connections, then to the last that sent', () => {
    const entry = table.add(first, alice);
    expect(table.add(second, alice)).toBe(entry);
    expect(table.lookup(alice)).toBe(second);
    table.activity(entry, first);
    expect(table.lookup(alice)).toBe(first);
    table.remove(entry, first);
    expect(table.lookup(alice)).toBe(second);
    expect(entry.duplicates).toBeUndefined();
    table.remove(entry, second);
    expect(table.lookup(alice)).toBeUndefined();
  });

  it('the table makes a new entry for a key that left', () => {
    const before = table.add(first, alice);
    table.remove(before, first);
    const after = table.add(second, alice);
    expect(after).not.toBe(before);
    expect(table.lookup(alice)).toBe(second);
  });

  it('the table reports the active of several connections, once for quick changes, with a rising sequence', async () => {
    const entry = table.add(first, alice);
    table.add(second, alice);
    for (let turn = 0; turn < 1000; turn++) {
      table.activity(entry, first);
      table.activity(entry, second);
    }
    table.activity(entry, first);
    await vi.advanceTimersByTimeAsync(10);
    table.activity(entry, second);
    await vi.advanceTimersByTimeAsync(10);
    expect(reported).toHaveLength(2);
    const [before, after] = reported.map((line) => line.split(' ').slice(-2).map(Number));
    expect(before?.[0]).toBe(1);
    expect(after?.[0]).toBe(2);
    expect(after?.[1]).toBeGreaterThan(before?.[1] as number);
  });

  it('the table reports nothing while the active connection stays', async () => {
    const entry = table.add(first, alice);
    table.activity(entry, first);
    await vi.advanceTimersByTimeAsync(20);
    expect(reported).toEqual([]);
    table.add(second, alice);
    await vi.advanceTimersByTimeAsync(20);
    reported.length = 0;
    table.activity(entry, second);
    table.remove(entry, first);
    await vi.advanceTimersByTimeAsync(20);
    expect(reported).toEqual([]);
  });

  it('the table reports the connection that takes over from one that left', async () => {
    const entry = table.add(first, alice);
    table.add(second, alice);
    table.add(third, alice);
    await vi.advanceTimersByTimeAsync(20);
    reported.length = 0;
    table.remove(entry, third);
    await vi.advanceTimersByTimeAsync(20);
    expect(reported.map((line) => line.split(' ').at(-2))).toEqual(['1']);
  });
});

describe('subscribers to the end of a key', () => {
  const table = () => new Table<Connection>(new EventQueue(eventLog().events));
  const of = (connections: Iterable<Connection>) => [...connections].map(({ id }) => id);

  it('the subscribers of a key are taken once', () => {
    const told = table();
    told.subscribe(alice, first);
    told.subscribe(alice, second);
    told.subscribe(alice, first);
    told.subscribe(bob, third);
    expect(of(told.takeSubscribers(alice))).toEqual([1, 2]);
    expect(of(told.takeSubscribers(alice))).toEqual([]);
    expect(of(told.takeSubscribers(bob))).toEqual([3]);
  });

  it('a connection that unsubscribes leaves nothing behind', () => {
    const told = table();
    told.subscribe(alice, first);
    told.subscribe(alice, second);
    told.unsubscribe(alice, first);
    expect(of(told.takeSubscribers(alice))).toEqual([2]);
    told.subscribe(alice, first);
    told.unsubscribe(alice, first);
    told.unsubscribe(bob, first);
    const { told: kept } = told as unknown as { told: ReadonlyMap<unknown, unknown> };
    expect(kept.size).toBe(0);
  });
});
