/** What every source of decisions about clients has in common. */
import type { NodeKey } from '../../protocol/key.js';

/** Whether the client with this key, which comes from this address, may use the relay. */
export interface Question {
  readonly key: NodeKey;
  /** IP text; empty if unknown. */
  readonly address: string;
}

export type Answer =
  | { readonly kind: 'allowed' }
  | { readonly kind: 'denied'; readonly reason: string }
  /** There was no usable answer. `unreached`: not even the head of one. The reason is for the operator, without secrets. */
  | { readonly kind: 'failed'; readonly reason: string; readonly timeout: boolean; readonly unreached: boolean };

export interface Verifier {
  /** For logs and metrics. It has no secrets. */
  readonly name: string;
  /** Whether the client's address is part of the question. */
  readonly bySource: boolean;
  /** Answers from memory, at once. */
  readonly local?: boolean;
  /** Never rejects, but for an abort of the signal. */
  ask(question: Question, signal: AbortSignal): Promise<Answer>;
  /** What is wrong, for `/debug/check`; empty if nothing is. */
  check?(signal: AbortSignal): Promise<string>;
  /** Lets go of sockets and timers. */
  close(): void;
}

export const ALLOWED: Answer = { kind: 'allowed' };

export function denied(reason: string): Answer {
  return { kind: 'denied', reason };
}

export function failed(reason: string, more: { timeout?: boolean; unreached?: boolean } = {}): Answer {
  return { kind: 'failed', reason, timeout: more.timeout ?? false, unreached: more.unreached ?? false };
}
