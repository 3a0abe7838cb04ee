/** What a desk makes of its verifier's answers, and what it tells of itself. */
import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type Desk, type DeskOptions, TIME_BOUNDS } from '../../../../src/control/admission/desk.js';
import { ALLOWED, type Answer, denied, failed, type Verifier } from '../../../../src/control/admission/verifier.js';
import { turn } from '../../../helpers/wait.js';
import { desk, newKey } from './gates.js';

const HOUR = 3_600_000;
const { signal } = new AbortController();
const DOWN = failed('it is down');
const UNREACHED = failed('nothing listens there', { unreached: true });

/** A desk whose verifier answers what is said, and the questions to it. */
function telling(answer: Answer, options: Partial<DeskOptions> = {}) {
  const said = { answer };
  const verifier = vi.fn<Verifier['ask']>(async () => said.answer);
  const made = desk('v', verifier, options);
  const key = newKey();
  const ask = (more: Partial<Parameters<Desk['ask']>[1]> = {}) =>
    made.ask({ key, address: '192.0.2.1' }, { signal, anew: false, ...more });
  return { said, verifier, made, ask };
}

describe('the answers of a desk', () => {
  it('an admission counts as long as the cache says, unless the desk is to ask anew', async () => {
    const { said, verifier, made, ask } = telling(ALLOWED, { cache: { allow: HOUR, deny: HOUR, grace: 0 } });
    expect(await ask()).toEqual({ kind: 'allowed', how: 'asked' });
    said.answer = denied('no');
    expect(await ask()).toEqual({ kind: 'allowed', how: 'cached' });
    expect(await ask({ anew: true })).toEqual({ kind: 'denied', reason: 'no' });
    said.answer = ALLOWED;
    expect(await ask()).toEqual({ kind: 'denied', reason: 'no' });
    expect(verifier).toHaveBeenCalledTimes(2);
    expect(made.counts).toEqual({ allowed: 1, denied: 1, error: 0, timeout: 0, cached: 2, kicked: 0 });
    made.outdate();
    expect(await ask()).toEqual({ kind: 'allowed', how: 'asked' });
  });

  it('a failure is remembered by no cache, and does not end an admission', async () => {
    const cache = { allow: 0, deny: HOUR, grace: HOUR };
    const { said, verifier, ask } = telling(ALLOWED, { cache, now: () => 5 });
    await ask();
    said.answer = DOWN;
    for (let time = 0; time < 2; time++) {
      expect(await ask()).toEqual({ kind: 'allowed', how: 'grace', failure: 'it is down' });
    }
    expect(verifier).toHaveBeenCalledTimes(3);
  });

  it('a verifier that answers from memory is asked each time', async () => {
    const verifier = { name: 'v', bySource: false, local: true, ask: vi.fn(async () => ALLOWED), close: () => {} };
    const made = desk('v', verifier.ask, { verifier, cache: { allow: HOUR, deny: HOUR, grace: 0 } });
    expect([made.local, telling(ALLOWED).made.local]).toEqual([true, false]);
    const key = newKey();
    for (let time = 0; time < 2; time++) await made.ask({ key, address: '' }, { signal, anew: false });
    expect(verifier.ask).toHaveBeenCalledTimes(2);
  });

  it('a verifier that fails admits no client, and one that cannot be reached admits all if it may', async () => {
    expect(await telling(DOWN).ask()).toEqual({ kind: 'failed', reason: 'it is down' });
    expect(await telling(DOWN, { failOpen: true }).ask()).toEqual({ kind: 'failed', reason: 'it is down' });
    expect(await telling(UNREACHED).ask()).toEqual({ kind: 'failed', reason: 'nothing listens there' });
    const open = { kind: 'allowed', how: 'fail open', failure: 'nothing listens there' };
    expect(await telling(UNREACHED, { failOpen: true }).ask()).toEqual(open);
  });

  it('a connected client stays until the grace is over', async () => {
    const { ask } = telling(DOWN, { cache: { allow: 0, deny: 0, grace: 1000 } });
    const grace = { kind: 'allowed', how: 'grace', failure: 'it is down' };
    expect(await ask({ standing: { failedFor: 999 } })).toEqual(grace);
    expect(await ask({ standing: { failedFor: 1000 } })).toEqual({ kind: 'failed', reason: 'it is down' });
    expect(await ask()).toEqual({ kind: 'failed', reason: 'it is down' });
  });
});

describe('the time of a desk', () => {
  /** A desk whose verifier answers when it is told to give up. */
  function waiting(timeout: number) {
    const heard: AbortSignal[] = [];
    const ask: Verifier['ask'] = (_question, asked) => {
      heard.push(asked);
      const late = failed('late', { timeout: true });
      return new Promise((resolve) => asked.addEventListener('abort', () => resolve(late)));
    };
    return { made: desk('v', ask, { timeout }), heard };
  }

  it('a verifier has its time, and is then told to give up', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { made, heard } = waiting(1000);
    const answer = made.ask({ key: newKey(), address: '' }, { signal, anew: false });
    await turn();
    vi.advanceTimersByTime(999);
    expect(heard[0]?.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    expect(await answer).toEqual({ kind: 'failed', reason: 'late' });
    expect(made.counts).toMatchObject({ timeout: 1, error: 0 });
  });

  it('a verifier without a time is given up when the client leaves, and not before', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { made, heard } = waiting(0);
    const client = new AbortController();
    const answer = made.ask({ key: newKey(), address: '' }, { signal: client.signal, anew: false });
    await turn();
    vi.advanceTimersByTime(HOUR);
    expect(heard[0]?.aborted).toBe(false);
    client.abort();
    await expect(answer).rejects.toThrow();
    expect(heard[0]?.aborted).toBe(true);
  });

  it('an answer leaves no timer and no listener behind', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const client = new AbortController();
    const { ask } = telling(ALLOWED, { timeout: 1000 });
    await ask({ signal: client.signal });
    await turn();
    expect([vi.getTimerCount(), getEventListeners(client.signal, 'abort')]).toEqual([0, []]);
  });
});

describe('what a desk tells', () => {
  it('the state of a desk has the questions in progress, and the last failure with its time', async () => {
    const answers: ((answer: Answer) => void)[] = [];
    const ask = () => new Promise<Answer>((resolve) => answers.push(resolve));
    const made = desk('v', ask, { atOnce: 2 });
    expect([made.state, made.lastError]).toEqual(['ok', undefined]);
    const asked = [1, 2, 3].map(() => made.ask({ key: newKey(), address: '' }, { signal, anew: false }));
    await turn();
    expect(made.state).toBe('ok, 2 questions under way, 1 waiting');
    answers[0]?.(DOWN);
    await asked[0];
    await turn();
    expect(made.state).toMatch(/^fails, 2 questions under way, 0 waiting; last error \d{4}-\S+Z: it is down$/);
    for (const answer of answers) answer(ALLOWED);
    await Promise.all(asked);
    await turn();
    expect(made.state).toMatch(/^ok; last error \d{4}-\S+Z: it is down$/);
  });

  it('a verifier that has never failed is not said to answer again', async () => {
    const log = vi.fn();
    await telling(ALLOWED, { log }).ask();
    expect(log).not.toHaveBeenCalled();
  });

  it('a verifier that goes on to fail is logged again after a minute', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    const log = vi.fn();
    const { ask } = telling(DOWN, { log });
    vi.advanceTimersByTime(1000);
    for (const [milliseconds, lines] of [
      [0, 1],
      [59_999, 1],
      [1, 2],
    ] as const) {
      vi.advanceTimersByTime(milliseconds);
      await ask();
      expect(log).toHaveBeenCalledTimes(lines);
    }
    expect(log).toHaveBeenLastCalledWith('warn', { verifier: 'v', reason: 'it is down' }, 'a verifier fails');
  });

  it('a desk counts answers up to each bound, and those above all', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    onTestFinished(() => void vi.useRealTimers());
    let milliseconds = 0;
    const made = desk('v', async () => {
      vi.advanceTimersByTime(milliseconds);
      return ALLOWED;
    });
    expect(made.times).toEqual({ counts: Array(12).fill(0), sum: 0 });
    for (milliseconds of [...TIME_BOUNDS.map((bound) => bound * 1000), 20_000]) {
      await made.ask({ key: newKey(), address: '' }, { signal, anew: false });
    }
    expect(made.times.counts).toEqual(Array(12).fill(1));
  });

  it('a desk goes on with the figures of another one, or begins anew', async () => {
    const { made, ask } = telling(ALLOWED);
    await ask();
    const next = desk('v', async () => ALLOWED);
    next.continue(undefined);
    expect(next.counts.allowed).toBe(0);
    next.continue(made);
    expect(next.counts).toEqual(made.counts);
    expect(next.times).toEqual(made.times);
    expect(next.times.sum).toBe(made.times.sum);
  });

  it('a desk tells what its verifier finds wrong with itself, and closes it', async () => {
    const close = vi.fn();
    const check = vi.fn(async () => 'it is broken');
    const verifier = { name: 'v', bySource: false, ask: async () => ALLOWED, close };
    const made = desk('v', verifier.ask, { verifier: { ...verifier, check } });
    expect(await made.check()).toBe('it is broken');
    expect(check).toHaveBeenCalledWith(expect.any(AbortSignal));
    expect(await desk('v', verifier.ask).check()).toBe('');
    made.close();
    expect(close).toHaveBeenCalledOnce();
  });
});
