import type { Barrier } from '../../faults/barrier.js';
import type { DialTarget, LinkId } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import type { Directory } from '../directory/directory.js';
import type { LinkUser } from '../mesh/link-user.js';

/** What keys on demand use of plane, registry, mesh and log. */
export interface OnDemandParts {
  readonly ownKey: NodeKey;
  readonly directory: Directory;
  readonly meshKey: string;
  readonly roots: readonly Uint8Array[];
  /** Keys of other relays that are held at most: `limits.meshKeys`. */
  readonly mostKeys: number;
  /** Numbers a link. */
  begin(user: LinkUser): LinkId;
  dial(link: LinkId, target: DialTarget): void;
  hangUp(link: LinkId): void;
  /** The packets that each open link has carried. */
  linkPackets(): Promise<ReadonlyMap<LinkId, number>>;
  /** The link leads to the key from now on, instead of `before`: answers a lookup, too. */
  attach(key: NodeKey, link: LinkId, before: LinkId | undefined): void;
  /** The link leads to the key no longer. The key may be elsewhere. */
  detach(key: NodeKey, link: LinkId): void;
  /** Answers a lookup: no relay has the key, as far as is known. */
  missing(key: NodeKey): void;
  /** The key has left the region, unless it is connected here, or a relay of the full mesh has it. */
  departed(key: NodeKey): void;
  log(level: 'info' | 'warn' | 'debug', facts: object, text: string): void;
  /** Logs a warning if it is news and such lines are not too many; at level debug otherwise. */
  warn(isNews: boolean, facts: object, text: string): void;
  readonly barrier: Barrier;
}
