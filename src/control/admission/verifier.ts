/** The interface of all sources of decisions about clients. */
import type { NodeKey } from '../../protocol/key.js';

/** Whether the client with this key and address may use the relay. */
export interface Question {
  readonly key: NodeKey;
  /** IP text; empty if unknown. */
  readonly address: string;
}

export type Answer = { readonly kind: 'allowed' } | { readonly kind: 'denied'; readonly reason: string } | Failed;

/**
 * The verifier gave no usable answer; `unreached` if not even the head of one arrived. The reason is for the operator and
 * contains no secrets.
 */
export interface Failed {
  readonly kind: 'failed';
  readonly reason: string;
  readonly timeout: boolean;
  readonly unreached: boolean;
}

export interface Verifier {
  /** Its name in logs and metrics, without secrets. */
  readonly name: string;
  /** Whether the client's address is part of the question. */
  readonly bySource: boolean;
  /** Whether it answers at once, from memory. */
  readonly local?: boolean;
  /** Asks the question. Rejects only when the signal aborts. */
  ask(question: Question, signal: AbortSignal): Promise<Answer>;
  /** What is wrong, for `/debug/check`; empty if nothing is. */
  check?(signal: AbortSignal): Promise<string>;
  /** Closes sockets and timers. */
  close(): void;
}

export const ALLOWED: Answer = { kind: 'allowed' };

export function denied(reason: string): Answer {
  return { kind: 'denied', reason };
}

export function failed(reason: string, more: { timeout?: boolean; unreached?: boolean } = {}): Failed {
  return { kind: 'failed', reason, timeout: more.timeout ?? false, unreached: more.unreached ?? false };
}
