/** The embedding program's own decision about a client. */
import type { ReceiveRate, TlsVersion } from '../../plane/plane.js';

/** A client that has logged in, or is connected and decided about again. */
export interface AdmitClient {
  /** `nodekey:<hex>`. The client has proven that it holds the key. */
  readonly key: string;
  /** Printable ASCII, at most 32 characters; empty if the client sent none. */
  readonly appName: string;
  /** The protocol version that the client announces. */
  readonly version: number;
  /** The client's IP address; empty if unknown. */
  readonly address: string;
  /** The client's TCP port; 0 if unknown. */
  readonly port: number;
  /** The TLS version of the connection; `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
  /** Whether the client is connected already. */
  readonly again: boolean;
}

/** A decision that admits the client with a receive limit. */
export interface AdmitWithLimit {
  /** The limit. Frames beyond it wait; none is lost. */
  readonly receive: {
    /** Bytes of frames per second; more than 0. */
    readonly bytesPerSecond: number;
    /** Bytes at once. A value below the largest frame is raised to it, which is also the default. */
    readonly burst?: number;
  };
}

/** A decision that refuses the client with a reason. */
export interface AdmitRefusal {
  /** The reason for the relay's log; the client does not see it. */
  readonly refuse: string;
}

/** `true` admits the client, {@link AdmitWithLimit} too; `false` and {@link AdmitRefusal} refuse it. */
export type AdmitDecision = boolean | AdmitRefusal | AdmitWithLimit;

/**
 * Decides about a client. The signal aborts when the client leaves, or after 15 s, which refuses it. A hook that
 * throws, rejects, or returns anything else also refuses the client. For a connected client this counts as a failure
 * instead, and `admission.cache.grace` applies.
 */
export type OnAdmit = (client: AdmitClient, signal: AbortSignal) => AdmitDecision | Promise<AdmitDecision>;

export type HookAnswer =
  | { readonly kind: 'allowed'; readonly receiveLimit: ReceiveRate | null }
  | { readonly kind: 'denied' | 'failed'; readonly reason: string };

/** Calls the hook. Rejects when the signal aborts. A hook that throws, or returns an invalid decision, has failed. */
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
    abort.signal.addEventListener('abort', () => reject(new Error('the client has gone')));
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
    return { kind: 'failed', reason: late ? 'onAdmit is late' : `onAdmit threw: ${textOf(error)}` };
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
  return Number.isFinite(value) && (value as number) >= 0;
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
