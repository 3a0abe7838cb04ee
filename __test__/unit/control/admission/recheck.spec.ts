import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Recheck, type Standing } from '../../../../src/control/admission/recheck.js';
import type { NodeKey } from '../../../../src/protocol/key.js';
import { turn } from '../../../helpers/wait.js';

/** Clients that are asked about, and answered by hand. */
function rig(interval: number) {
  const asked: number[] = [];
  const answers = new Map<number, () => void>();
  const aborted: number[] = [];
  const recheck = new Recheck<string>({
    interval,
    random: () => 0,
    ask: ({ id }, signal) =>
      new Promise((resolve, reject) => {
        asked.push(id);
        answers.set(id, resolve);
        signal.addEventListener('abort', () => {
          aborted.push(id);
          reject(new Error('gone'));
        });
      }),
  });
  onTestFinished(() => recheck.close());
  const add = (id: number, key = `key ${id}`) => {
    const standing: Standing<string> = {
      id,
      key: key as NodeKey,
      who: '',
      letInBy: [],
      failingSince: 0,
      receiveLimit: null,
    };
    recheck.add(standing);
  };
  return { recheck, asked, aborted, add, answer: (id: number) => answers.get(id)?.() };
}

describe('Recheck', () => {
  it('a recheck asks about sixteen clients at once, and about each client once in an interval', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const { recheck, asked, add, answer } = rig(1000);
    for (let id = 0; id < 100; id++) add(id);
    recheck.start();
    vi.advanceTimersByTime(999);
    expect(asked).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(asked).toHaveLength(16);
    for (let id = 0; id < 100; id++) {
      answer(id);
      await turn(1);
      expect(asked).toHaveLength(Math.min(17 + id, 100));
    }
    // Clients whose answers are still on the way are not asked about twice.
    vi.advanceTimersByTime(1000);
    vi.advanceTimersByTime(1000);
    expect(asked).toHaveLength(116);
    for (let answered = 100; answered < asked.length; answered++) {
      answer(asked[answered] as number);
      await turn(1);
    }
    expect(asked).toHaveLength(200);
    expect(new Set(asked.slice(100)).size).toBe(100);
  });

  it('a recheck of a key during another one takes its place', async () => {
    const { recheck, asked, aborted, add } = rig(1000);
    add(1);
    recheck.now(['key 1' as NodeKey]);
    recheck.now(['key 1' as NodeKey, 'unknown' as NodeKey]);
    expect([asked, aborted]).toEqual([[1, 1], [1]]);
    await turn();
    // The second one is still in progress, and ends with the client.
    recheck.remove(1);
    expect(aborted).toEqual([1, 1]);
    recheck.now(['key 1' as NodeKey]);
    expect(asked).toEqual([1, 1]);
  });

  it('of two clients with one key, the other one stays when one leaves, and one that is unknown may leave', () => {
    const { recheck, asked, add } = rig(0);
    add(1, 'same');
    add(2, 'same');
    recheck.remove(1);
    recheck.remove(3);
    expect([recheck.get(1), recheck.get(2)?.key]).toEqual([undefined, 'same']);
    recheck.now(['same' as NodeKey]);
    expect(asked).toEqual([2]);
  });

  it('without an interval there are no turns, and a recheck that is closed takes no clients', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const { recheck, add } = rig(0);
    add(1);
    recheck.start();
    expect(vi.getTimerCount()).toBe(0);
    recheck.close();
    add(2);
    expect(recheck.get(2)).toBeUndefined();
    const timed = rig(1000).recheck;
    timed.start();
    expect(vi.getTimerCount()).toBe(1);
    timed.close();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a recheck of a key comes before the turns of other clients, and clients that left are skipped', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const { recheck, asked, aborted, add, answer } = rig(1000);
    for (let id = 0; id < 20; id++) add(id);
    add(100, 'wanted');
    add(101, 'wanted');
    recheck.start();
    vi.advanceTimersByTime(1000);
    recheck.now(['wanted' as NodeKey]);
    recheck.remove(5);
    recheck.remove(18);
    expect(aborted).toEqual([5]);
    for (const id of [0, 1, 2]) answer(id);
    await turn();
    expect(asked.slice(16)).toEqual([100, 101, 16, 17]);
    for (const id of [3, 4]) answer(id);
    await turn();
    expect(asked.slice(20)).toEqual([19]);
    recheck.close();
    recheck.now(['wanted' as NodeKey]);
    await turn();
    expect(asked).toHaveLength(21);
  });
});
