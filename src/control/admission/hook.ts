/** The embedder's own decision about a client. */
import type { ReceiveRate, TlsVersion } from '../../plane/plane.js';

/** What is known of a client that wants to come in, or is asked about again. */
export interface AdmitClient {
  /** `nodekey:<hex>`: it has proven that the key is its own. */
  readonly key: string;
  /** Printable ASCII, at most 32 characters; empty if the client gave none. */
  readonly appName: string;
  /** What the client says of its protocol. */
  readonly version: number;
  /** IP text; empty if unknown. */
  readonly address: string;
  readonly port: number;
  readonly tlsVersion: TlsVersion | null;
  /** It is connected already. */
  readonly again: boolean;
}

/**
 * `true` lets the client in, `false` and `refuse` do not; `receive` limits what it may send: bytes per second, and how many
 * at once, which is no less than the largest frame.
 */
export type AdmitDecision =
  | boolean
  | { readonly refuse: string }
  | { readonly receive: { readonly bytesPerSecond: number; readonly burst?: number } };

/** The signal aborts when the client has gone, or its time is over. Whatever it does then refuses the client. */
export type OnAdmit = (client: AdmitClient, signal: AbortSignal) => AdmitDecision | Promise<AdmitDecision>;

export type HookAnswer =
  | { readonly kind: 'allowed'; readonly receiveLimit: ReceiveRate | null }
  | { readonly kind: 'denied' | 'failed'; readonly reason: string };

/** Asks the hook. Rejects when the signal aborts; a hook that throws, or answers something else, has failed. */
export async function askHook(
  hook: OnAdmit,
  client: AdmitClient,
  timeout: number,
  leastBurst: number,
  signal: AbortSignal,
): Promise<HookAnswer> {
  const abort = new AbortController();
  let late = false;
  const gone = new Promise<never>((_resolve, reject) => {
    abort.signal.addEventListener('abort', () => reject(new Error(late ? 'onAdmit is late' : 'the client has gone')));
  });
  gone.catch(() => {});
  const onGone = () => abort.abort();
  const timer = setTimeout(() => {
    late = true;
    abort.abort();
  }, timeout);
  signal.addEventListener('abort', onGone, { once: true });
  if (signal.aborted) abort.abort();
  try {
    const asked = Promise.resolve().then(() => hook(client, abort.signal));
    return answerOf(await Promise.race([asked, gone]), leastBurst);
  } catch (error) {
    if (signal.aborted) throw error;
    return { kind: 'failed', reason: late ? 'onAdmit is late' : `onAdmit has thrown: ${textOf(error)}` };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onGone);
  }
}

function answerOf(decision: unknown, leastBurst: number): HookAnswer {
  if (decision === true) return { kind: 'allowed', receiveLimit: null };
  if (decision === false) return { kind: 'denied', reason: 'onAdmit' };
  const { refuse, receive } = Object(decision) as { refuse?: unknown; receive?: Record<string, unknown> };
  if (typeof refuse === 'string') return { kind: 'denied', reason: `onAdmit: ${refuse}` };
  const { bytesPerSecond, burst = 0 } = Object(receive) as { bytesPerSecond?: unknown; burst?: unknown };
  if (isAmount(bytesPerSecond) && bytesPerSecond > 0 && isAmount(burst)) {
    return { kind: 'allowed', receiveLimit: { bytesPerSecond, burst: Math.max(burst, leastBurst) } };
  }
  return { kind: 'failed', reason: 'onAdmit has answered neither true, false, { refuse } nor { receive }' };
}

function isAmount(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value) && value >= 0;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
