/** `__test__/vectors/protocol.json`: facts taken from upstream, with types for what the tests read of them. */
import { readFileSync } from 'node:fs';
import { type NodeKey, readNodeKey } from '../../src/protocol/key.js';

type Values<T> = { readonly source: string; readonly values: Readonly<Record<string, T>> };
type Constants = Readonly<Record<string, { readonly value: string | number; readonly source: string }>>;

export interface FrameVector {
  readonly type: string;
  readonly direction: 'toServer' | 'toClient';
  readonly hex: string;
  readonly source: string;
  readonly destination?: string;
  readonly sourceKey?: string;
  readonly payload?: string;
  readonly public?: string;
  readonly peer?: string;
  readonly reason?: string;
  readonly preferred?: boolean;
  readonly data?: string;
  readonly address?: string;
  readonly flags?: readonly string[];
  readonly appName?: string;
  readonly problem?: string;
  readonly reconnectInMs?: number;
  readonly tryForMs?: number;
}

export interface Sealed {
  readonly privateKey: string;
  readonly peerPublicKey: string;
  readonly nonce: string;
  readonly json: string;
  readonly box: string;
  readonly frameHeader: string;
  readonly frame: string;
}

export interface DecodedInfo {
  readonly meshKey: string;
  readonly version: number;
  readonly canAckPings: boolean;
  readonly isProber: boolean;
  readonly appName: string;
}

export interface Vectors {
  readonly upstream: string;
  readonly constants: Constants;
  readonly documented: Constants;
  readonly frameTypes: Values<number>;
  readonly peerGoneReasons: Values<number>;
  readonly peerPresentFlags: Values<number>;
  readonly drops: { readonly reasons: readonly string[]; readonly kinds: readonly string[] };
  readonly keys: Values<{ readonly private?: string; readonly public?: string; readonly meshKey?: string }>;
  readonly frames: Readonly<Record<string, FrameVector>>;
  readonly login: Values<{ readonly ClientInfo: Sealed; readonly ServerInfo: Sealed }>;
  readonly clientInfoJson: Values<{ readonly hex: string; readonly accepted: boolean; readonly decoded?: DecodedInfo }>;
  readonly clientInfoDepth: { readonly deepestListInUnknownField: number };
  readonly appNames: Values<{ readonly text: string; readonly valid: boolean }>;
  readonly keyText: {
    readonly privateText: Values<{ readonly text: string; readonly ok: boolean; readonly hex?: string }>;
    readonly publicText: Values<{ readonly text: string; readonly ok: boolean; readonly hex?: string }>;
    readonly publicUntyped: Values<{ readonly text: string; readonly ok: boolean; readonly hex?: string }>;
    readonly shortForm: Values<{ readonly public: string; readonly short: string }>;
  };
  readonly meshKeys: Values<{
    readonly text: string;
    readonly ok: boolean;
    readonly hex?: string;
    readonly zero?: boolean;
  }>;
  readonly firstFrames: Values<{ readonly type: number; readonly length: number; readonly taken: boolean }>;
  readonly inboundFrames: Values<{
    readonly type: number;
    readonly length: number;
    readonly mesh: boolean;
    readonly closes: boolean;
  }>;
  readonly disco: Values<{ readonly hex: string; readonly disco: boolean }>;
  readonly metaCert: {
    readonly values: {
      readonly serverPublicKey: string;
      readonly version: number;
      readonly serial: number;
      readonly commonName: string;
      readonly subjectDer: string;
      readonly issuerDer: string;
      readonly notBeforeDays: number;
      readonly notAfterDays: number;
      readonly extensions: Readonly<Record<string, { readonly critical: boolean; readonly value: string }>>;
      readonly indexFromEndOfChain: number;
    };
  };
  readonly upgrade: Readonly<Record<string, { readonly text: string }>>;
  readonly noContent: Values<{
    readonly challenge: string;
    readonly status: number;
    readonly response: string;
    readonly cacheControl: string;
  }>;
  readonly stun: {
    readonly accepts: Values<{ readonly hex: string; readonly accepted: boolean }>;
    readonly requests: Values<{ readonly txId: string; readonly hex: string }>;
    readonly responses: Values<{ readonly txId: string; readonly address: string; readonly hex: string }>;
  };
}

export const vectors = JSON.parse(
  readFileSync(new URL('../vectors/protocol.json', import.meta.url), 'utf8'),
) as Vectors;

/** Name and value of each, for `it.each`. */
export function cases<T>({ values }: { readonly values: Readonly<Record<string, T>> }): [string, T][] {
  return Object.entries(values);
}

export function bytes(hex: string | undefined): Buffer {
  return Buffer.from(hex ?? '', 'hex');
}

export function nodeKey(hex: string | undefined): NodeKey {
  return readNodeKey(bytes(hex));
}

/** `1.2.3.4:5` and `[::1]:5`, taken apart; an empty one is an unknown address. */
export function addressOf(text: string): { address: string; port: number } {
  const [, v6, v4, port] = /^(?:\[(.*)\]|(.*)):(\d+)$/.exec(text) ?? [];
  return { address: v6 ?? v4 ?? '', port: Number(port ?? 0) };
}
