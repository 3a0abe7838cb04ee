import type { Barrier } from '../../faults/barrier.js';
import type { DialTarget, LinkId } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import type { SelfVerdict } from './self-check.js';

/** What the mesh uses of plane, registry and log. */
export interface MeshParts {
  readonly ownKey: NodeKey;
  /** Where the relay has its key from: the path of a file, or the name of a setting. */
  readonly ownKeyFrom: string;
  readonly meshKey: string;
  readonly roots: readonly Uint8Array[];
  /** The number of keys that all relays together may announce. */
  readonly mostKeys: number;
  dial(link: LinkId, target: DialTarget): void;
  hangUp(link: LinkId): void;
  /** Whether a target that has our key is this relay. Never rejects. */
  isSelf(target: DialTarget): Promise<SelfVerdict>;
  /** A link has announced a key, or withdrawn it. */
  onChange(link: LinkId, key: NodeKey, present: boolean): void;
  log(level: 'error' | 'info' | 'warn' | 'debug', facts: object, text: string): void;
  readonly barrier: Barrier;
}

export interface MeshTimes {
  /** Milliseconds for name lookup, TCP, TLS, HTTP and login together; equals that of derper's clients. */
  readonly connect: number;
  /**
   * Milliseconds before the next dial, plus up to `jitter`, so that two relays do not keep dialling each other at one
   * time.
   */
  readonly retry: number;
  readonly jitter: number;
  /** The longest pause between dials of a relay that a source has found and that does not answer. It doubles up to that. */
  readonly longest: number;
  /** Milliseconds before a relay with our key, or one that is connected under another address, is dialled again. */
  readonly recheck: number;
  /** How long the link to a relay may stay that no source names any more. */
  readonly linger: number;
}

export const MESH_TIMES: MeshTimes = {
  ...{ connect: 10_000, retry: 5_000, jitter: 1_000 },
  ...{ longest: 60_000, recheck: 60_000, linger: 30_000 },
};
