import { describe, expect, it } from 'vitest';
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
    await expect(asked).rejects.toThrow();
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
