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

describe('Table', () => {
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

  it('leads to the one connection of a key, until it leaves', () => {
    const entry = table.add(first, alice);
    expect(table.lookup(alice)).toBe(first);
    expect(table.lookup(bob)).toBeUndefined();
    table.remove(entry, first);
    expect(table.lookup(alice)).toBeUndefined();
  });

  it('leads to the newest of several, then to whoever sent last', () => {
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

  it('begins anew for a key that has gone', () => {
    const before = table.add(first, alice);
    table.remove(before, first);
    const after = table.add(second, alice);
    expect(after).not.toBe(before);
    expect(table.lookup(alice)).toBe(second);
  });

  it('says which of several is active, once for a quick row, with a sequence that rises', async () => {
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

  it('says nothing while nothing changes', async () => {
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

  it('says who took over from one that left', async () => {
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

describe('who was sent packets of whom', () => {
  const table = () => new Table<Connection>(new EventQueue(eventLog().events));
  const of = (connections: Iterable<Connection>) => [...connections].map(({ id }) => id);

  it('is taken once', () => {
    const told = table();
    told.subscribe(alice, first);
    told.subscribe(alice, second);
    told.subscribe(alice, first);
    told.subscribe(bob, third);
    expect(of(told.takeSubscribers(alice))).toEqual([1, 2]);
    expect(of(told.takeSubscribers(alice))).toEqual([]);
    expect(of(told.takeSubscribers(bob))).toEqual([3]);
  });

  it('is forgotten with the connection, and leaves nothing behind', () => {
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
