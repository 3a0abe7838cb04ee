import type { MeshPeer } from '../../protocol/mesh-peer.js';

/** A relay to mesh with, as a source has found it. */
export interface FoundRelay {
  readonly peer: MeshPeer;
  /** How log, metrics and pages call it; no two relays of a source have one name. */
  readonly name: string;
}

/** A relay to mesh with. */
export interface WantedRelay extends FoundRelay {
  /** The source that has found it, or `meshWith`. */
  readonly from: string;
  /** Whether a source has found it, and not the setting `meshWith`. */
  readonly isFound: boolean;
}

/** What tells one relay of the set from another: where it is dialled, and what its certificate must cover. */
export function idOf({ peer: { dialHost, port, authority } }: FoundRelay): string {
  return `${dialHost} ${port} ${authority}`;
}

/** A relay of the setting `meshWith`. */
export function listed(peer: MeshPeer): WantedRelay {
  return { peer, name: peer.authority, from: 'meshWith', isFound: false };
}

/** The number of relays that all sources together may find: beyond a few hundred, no full mesh makes sense. */
export const MOST_FOUND = 500;
