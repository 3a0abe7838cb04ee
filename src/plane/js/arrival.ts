import type { Duplex } from 'node:stream';
import type { ConnectionId, PeerAddress, TlsVersion } from '../plane.js';

/** How a connection came to speak DERP. */
export interface Arrival {
  readonly id: ConnectionId;
  readonly stream: Duplex;
  readonly peer: PeerAddress;
  readonly tlsVersion: TlsVersion | null;
  readonly notIdeal: boolean;
  /** No counter, snapshot or tap shows it. */
  readonly uncounted?: boolean;
}
