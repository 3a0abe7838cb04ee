import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import { withDeadline } from '../../../src/acme/deadline.js';
import { eventually } from '../../helpers/wait.js';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

describe('a signal with a deadline', () => {
  it('a signal with a deadline aborts in time, though garbage is collected before', async () => {
    let aborted = 0;
    const aborts = Array.from({ length: 100 }, () => {
      const { signal } = withDeadline(50, new AbortController().signal);
      return new Promise<void>((resolve) => {
        signal.addEventListener('abort', () => {
          aborted += 1;
          resolve();
        });
      });
    });
    // Weak references hold until the end of the job that made them.
    await new Promise((resolve) => setImmediate(resolve));
    collect();
    await eventually(() => aborted === aborts.length, 'every signal to abort');
  });

  it('a signal with a deadline aborts with the signal that it follows, for its reason', () => {
    const followed = new AbortController();
    const { signal } = withDeadline(60_000, followed.signal);
    followed.abort('enough');
    expect(signal.reason).toBe('enough');
    expect(withDeadline(60_000, followed.signal).signal.reason).toBe('enough');
  });

  it('a signal with a deadline never aborts after its release', async () => {
    const followed = new AbortController();
    const { signal, release } = withDeadline(1, followed.signal);
    release();
    followed.abort();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(signal.aborted).toBe(false);
  });

  it('a signal with a deadline alone aborts as timed out', async () => {
    const { signal } = withDeadline(1);
    await eventually(() => signal.aborted, 'the deadline');
    expect(signal.reason.name).toBe('TimeoutError');
  });
});
