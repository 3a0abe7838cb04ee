/** A signal with a deadline, which holds until it is released. */
export interface Deadline {
  readonly signal: AbortSignal;
  /** Ends the deadline, once the work is done. */
  release(): void;
}

/**
 * A signal that aborts after `milliseconds`, or when `signal` does. The timer and the listener keep it alive: on Node 20 what
 * `AbortSignal.any` returns can be collected before its time, and then never aborts.
 */
export function withDeadline(milliseconds: number, signal?: AbortSignal): Deadline {
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal?.reason);
  const late = () => controller.abort(new DOMException('The operation timed out.', 'TimeoutError'));
  const timer = setTimeout(late, milliseconds).unref();
  if (signal?.aborted) onAbort();
  else signal?.addEventListener('abort', onAbort, { once: true });
  return {
    signal: controller.signal,
    release: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    },
  };
}
