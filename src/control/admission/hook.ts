/** The embedder's own decision about a client. */
import type { ReceiveRate, TlsVersion } from '../../plane/plane.js';

/** What is known of a client that has logged in, or is connected and asked about again. */
export interface AdmitClient {
  /** `nodekey:<hex>`: it has proven that the key is its own. */
  readonly key: string;
  /** Printable ASCII, at most 32 characters; empty if the client gave none. */
  readonly appName: string;
  /** The version of the protocol that the client says it speaks. */
  readonly version: number;
  /** The client's IP address; empty if unknown. */
  readonly address: string;
  /** The client's TCP port; 0 if unknown. */
  readonly port: number;
  /** The version of TLS that the client came with; `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
  /** Whether the client is connected already, and is asked about again. */
  readonly again: boolean;
}

/** A decision that limits what the client may send. */
export interface AdmitWithLimit {
  /** The limit. Further frames wait; none is lost. */
  readonly receive: {
    /** Bytes of frames per second, more than 0. */
    readonly bytesPerSecond: number;
    /** Bytes at once. At least the largest frame, to which smaller values are raised; that is the default, too. */
    readonly burst?: number;
  };
}

/** A decision that refuses the client, with its reason. */
export interface AdmitRefusal {
  /** The reason, for the relay's log; the client does not see it. */
  readonly refuse: string;
}

/** `true` lets the client in, `false` refuses it, and so does {@link AdmitRefusal}. {@link AdmitWithLimit} lets it in. */
export type AdmitDecision = boolean | AdmitRefusal | AdmitWithLimit;

/**
 * Decides about a client. The signal aborts when the client has gone, or after 15 s, which refuses it. A hook that throws,
 * rejects, or answers anything else refuses the client, too; for a client that is connected this counts as a failure, for which
 * `admission.cache.grace` holds.
 */
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
