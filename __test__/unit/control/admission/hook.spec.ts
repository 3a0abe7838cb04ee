import { getEventListeners } from 'node:events';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type AdmitClient, askHook, type OnAdmit } from '../../../../src/control/admission/hook.js';

const CLIENT: AdmitClient = {
  key: `nodekey:${'ab'.repeat(32)}`,
  appName: 'app',
  version: 2,
  address: '192.0.2.1',
  port: 1,
  tlsVersion: '1.3',
  again: false,
};

function ask(hook: unknown, timeout = 60_000, signal = new AbortController().signal) {
  return askHook(hook as OnAdmit, CLIENT, timeout, 1000, signal);
}

describe('askHook', () => {
  it.each<[unknown, unknown]>([
    [true, { kind: 'allowed', receiveLimit: null }],
    [false, { kind: 'denied', reason: 'onAdmit' }],
    [{ refuse: 'why' }, { kind: 'denied', reason: 'onAdmit: why' }],
    [{ receive: { bytesPerSecond: 5 } }, { kind: 'allowed', receiveLimit: { bytesPerSecond: 5, burst: 1000 } }],
    [
      { receive: { bytesPerSecond: 5, burst: 2000 } },
      { kind: 'allowed', receiveLimit: { bytesPerSecond: 5, burst: 2000 } },
    ],
  ])('the hook may answer %j', async (decision, answer) => {
    expect(await ask(() => decision)).toEqual(answer);
    expect(await ask(async () => decision)).toEqual(answer);
  });

  it.each([undefined, null, 1, 'yes', {}, { receive: {} }, { receive: { bytesPerSecond: 0 } }, { refuse: 1 }])(
    'the answer %j counts as a failure',
    async (decision) => {
      expect(await ask(() => decision)).toMatchObject({ kind: 'failed' });
    },
  );

  it.each([
    { receive: { bytesPerSecond: -1 } },
    { receive: { bytesPerSecond: '5' } },
    { receive: { bytesPerSecond: Number.NaN } },
    { receive: { bytesPerSecond: Number.POSITIVE_INFINITY } },
    { receive: { bytesPerSecond: 5, burst: -1 } },
    { receive: { bytesPerSecond: 5, burst: '1' } },
    { receive: 5 },
  ])('a limit that is none counts as a failure: %j', async (decision) => {
    const reason = 'onAdmit has answered neither true, false, { refuse } nor { receive }';
    expect(await ask(() => decision)).toEqual({ kind: 'failed', reason });
  });

  it('a hook may throw anything', async () => {
    const thrown = ask(() => {
      throw 'a text';
    });
    expect(await thrown).toEqual({ kind: 'failed', reason: 'onAdmit threw: a text' });
  });

  it('the hook leaves no timer and no listener behind', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    const { signal } = new AbortController();
    await ask(() => true, 60_000, signal);
    expect([vi.getTimerCount(), getEventListeners(signal, 'abort')]).toEqual([0, []]);
  });

  it('an exception or rejection of the hook counts as a failure', async () => {
    const answer = { kind: 'failed', reason: 'onAdmit threw: oh' };
    expect(
      await ask(() => {
        throw new Error('oh');
      }),
    ).toEqual(answer);
    expect(await ask(async () => Promise.reject(new Error('oh')))).toEqual(answer);
  });

  it('the hook has a deadline, which it is told', async () => {
    let aborted: AbortSignal | undefined;
    const late = (_client: AdmitClient, signal: AbortSignal) => {
      aborted = signal;
      return new Promise(() => {});
    };
    expect(await ask(late, 10)).toEqual({ kind: 'failed', reason: 'onAdmit is late' });
    expect(aborted?.aborted).toBe(true);
  });

  it('the hook is aborted when the client leaves', async () => {
    const gone = new AbortController();
    const asked = ask(() => new Promise(() => {}), 60_000, gone.signal);
    gone.abort();
    await expect(asked).rejects.toThrow('the client has gone');
    await expect(ask(() => true, 60_000, AbortSignal.abort())).rejects.toThrow();
  });

  it('the hook gets the facts of the client', async () => {
    let seen: AdmitClient | undefined;
    await ask((client: AdmitClient) => {
      seen = client;
      return true;
    });
    expect(seen).toEqual(CLIENT);
  });
});
