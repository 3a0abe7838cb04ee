/** What is dialled to reach a relay: each of its addresses in turn; and why none of them has done. */
import { lookup } from 'node:dns/promises';
import type { DialTarget } from '../../plane/plane.js';
import type { MeshPeer } from '../../protocol/mesh-peer.js';
import { inTime } from '../in-time.js';

/** A target, and how a reason of its own is told beside those of other addresses. */
export interface Dialled {
  readonly target: DialTarget;
  told(reason: string): string;
}

/** Characters of a reason: a certificate may have any number of names. */
const LONGEST_REASON = 500;

/**
 * The addresses of a relay, in the system's order, to be dialled within `patience` milliseconds altogether: an address that
 * never answers leaves time for the others. Rejects if the name is not resolved within that time.
 */
export async function targetsOf(
  peer: MeshPeer,
  means: Pick<DialTarget, 'roots' | 'meshKey' | 'watch'>,
  patience: number,
): Promise<Iterable<Dialled>> {
  const until = performance.now() + patience;
  const found = lookup(peer.dialHost, { all: true, verbatim: true });
  const addresses = await inTime(found, patience, `the name ${peer.dialHost} is not resolved in time`);
  return inTurn(
    peer,
    means,
    addresses.map(({ address }) => address),
    until,
  );
}

/** Each target when it is its turn: its time is a share of what is left. */
function* inTurn(
  { host, authority, port }: MeshPeer,
  { roots, meshKey, watch }: Pick<DialTarget, 'roots' | 'meshKey' | 'watch'>,
  addresses: readonly string[],
  until: number,
): Generator<Dialled> {
  for (const [index, address] of addresses.entries()) {
    const timeout = Math.round(Math.max(0, until - performance.now()) / (addresses.length - index));
    yield {
      target: { address: { address, port }, host, authority, roots, meshKey, watch, timeout },
      told: (reason) => (addresses.length > 1 ? `${address}: ${reason}` : reason),
    };
  }
}

export function shortened(reason: string): string {
  return reason.length > LONGEST_REASON ? `${reason.slice(0, LONGEST_REASON)}…` : reason;
}
