import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { EventQueue } from '../../../src/plane/js/events.js';
import { eventLog, keyOf } from './context.js';

let queue: EventQueue;
let log: string[];

beforeEach(() => {
  vi.useFakeTimers();
  const made = eventLog();
  log = made.log;
  queue = new EventQueue(made.events);
});

afterEach(() => {
  queue.stop();
  vi.useRealTimers();
});

describe('the order of events', () => {
  it('events are raised in order, after the code that causes them', async () => {
    queue.raise((to) => to.watch(1));
    queue.raise((to) => to.watch(2));
    queue.closed(1, keyOf(1), (to) => to.closed(1, 'closed'));
    expect(log).toEqual([]);
    await Promise.resolve();
    expect(log).toEqual(['watch 1', 'watch 2', 'closed 1 closed']);
  });

  it('an event that a handler causes comes after events that wait', async () => {
    queue.raise(() => {
      queue.raise((to) => to.watch(3));
      log.push('first');
    });
    queue.raise((to) => to.watch(2));
    await Promise.resolve();
    await Promise.resolve();
    expect(log).toEqual(['first', 'watch 2', 'watch 3']);
  });

  it('an event whose handler fails is told as a fault, and the next one is raised', async () => {
    queue.raise(() => {
      throw new Error('broken');
    });
    queue.raise((to) => to.watch(2));
    await Promise.resolve();
    await Promise.resolve();
    expect(log).toHaveLength(2);
    expect(log).toContain('watch 2');
    expect(log).toContainEqual(expect.stringContaining('fault ERR_INTERNAL an event of the plane: Error: broken'));
  });
});

describe('the event prefer', () => {
  it('prefer is raised after a short delay, with the last home of each client', async () => {
    queue.prefer(1, true);
    queue.prefer(2, true);
    queue.prefer(1, false);
    await vi.advanceTimersByTimeAsync(9);
    expect(log).toEqual([]);
    await vi.advanceTimersByTimeAsync(1);
    expect(log).toEqual(['prefer 1 false 2', 'prefer 2 true 1']);
    queue.prefer(3, true);
    await vi.advanceTimersByTimeAsync(100);
    expect(log.slice(2)).toEqual(['prefer 3 true 1']);
  });

  it('prefer comes before closed, which is the last event of a connection', async () => {
    queue.prefer(1, true);
    queue.prefer(2, true);
    queue.closed(1, keyOf(1), (to) => to.closed(1, 'disconnected'));
    await vi.advanceTimersByTimeAsync(20);
    expect(log).toEqual(['prefer 1 true 1', 'closed 1 disconnected', 'prefer 2 true 1']);
  });
});

describe('the event active', () => {
  it('active is raised with a short delay, once for each key, with its last connection', async () => {
    const lines = () => log.map((line) => line.split(' ').slice(-2).join(' '));
    for (let sequence = 1; sequence <= 1000; sequence++) queue.active(keyOf(sequence % 2), sequence % 7, sequence);
    await vi.advanceTimersByTimeAsync(10);
    expect(lines().sort()).toEqual([`${1000 % 7} 1000`, `${999 % 7} 999`].sort());
    queue.active(keyOf(0), 5, 1001);
    await vi.advanceTimersByTimeAsync(10);
    expect(lines()).toHaveLength(3);
    expect(lines().at(-1)).toBe('5 1001');
  });

  it('closed drops active of its own connection, and not that of another connection of the key', async () => {
    queue.active(keyOf(1), 1, 10);
    queue.active(keyOf(2), 3, 11);
    queue.closed(1, keyOf(1), (to) => to.closed(1, 'disconnected'));
    queue.closed(2, keyOf(2), (to) => to.closed(2, 'disconnected'));
    await vi.advanceTimersByTimeAsync(20);
    expect(log.map((line) => line.split(' ').at(0))).toEqual(['closed', 'closed', 'active']);
    expect(log.at(-1)).toMatch(/ 3 11$/);
  });
});

describe('stopping the queue of events', () => {
  it('stop leaves no timer', () => {
    queue.prefer(1, true);
    queue.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
