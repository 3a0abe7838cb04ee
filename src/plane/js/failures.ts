/** Counts connections that come to nothing before they are admitted, and tells of them where that is wanted. */
import type { WritableCounters } from '../counters.js';
import type { FailureCounter, HandshakeFailure, RefusalCounter } from '../failures.js';
import type { Failure, PeerAddress, PlanePolicy } from '../plane.js';
import type { EventQueue } from './events.js';
import { Wheel } from './wheel.js';

/** The most of a server name that is told of: no name of DNS is longer. */
const MAX_NAME = 255;
/** Milliseconds between two addresses whose share is full that are told of. */
const CROWDED = 5000;

/** What is known of a handshake that has failed. */
export interface HandshakeFault {
  readonly reason: HandshakeFailure;
  /** The name of the alert that the client has sent. */
  readonly alert?: string;
}

export class Failures {
  private crowdedAt = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly counters: WritableCounters,
    private readonly events: EventQueue,
    private readonly policy: () => PlanePolicy,
  ) {}

  /** A connection has come to nothing. */
  failed(what: FailureCounter | RefusalCounter, peer: PeerAddress, serverName = '', alert = ''): void {
    this.counters.add(what);
    this.tell({ what, peer, serverName: serverName.slice(0, MAX_NAME), alert });
  }

  /** One was refused for a limit that has no counter of its own. */
  refused(what: RefusalCounter, peer: PeerAddress): void {
    if (what !== 'connections_refused') this.counters.add('connections_refused');
    this.failed(what, peer);
  }

  /** The share of an address is full. */
  crowded(address: string): void {
    const now = Wheel.now();
    if (now - this.crowdedAt < CROWDED) return;
    this.crowdedAt = now;
    this.events.raise((to) => to.crowded(address));
  }

  private tell(failure: Failure): void {
    if (this.policy().tellFailures) this.events.failed(failure);
  }
}

const COMMON: Readonly<Record<string, HandshakeFailure>> = {
  NO_APPLICATION_PROTOCOL: 'no_common_protocol',
  NO_SHARED_CIPHER: 'no_common_cipher',
  NO_SHARED_GROUPS: 'no_common_cipher',
  NO_SHARED_SIGNATURE_ALGORITHMS: 'no_common_cipher',
  NO_SUITABLE_GROUPS: 'no_common_cipher',
  NO_SUITABLE_KEY_SHARE: 'no_common_cipher',
  NO_SUITABLE_SIGNATURE_ALGORITHM: 'no_common_cipher',
  UNSUPPORTED_PROTOCOL: 'no_common_version',
  VERSION_TOO_LOW: 'no_common_version',
};

/** What OpenSSL, or the socket below it, says of a handshake. */
export function handshakeFault(error: NodeJS.ErrnoException): HandshakeFault {
  const [, words] = /^ERR_SSL_(\w+)$/.exec(error.code ?? '') ?? [];
  // It is the transport that has failed.
  if (words === undefined) return { reason: 'hung_up' };
  const [, alert] = /^(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?(\w+)$/.exec(words) ?? [];
  if (alert !== undefined) return { reason: 'client_alert', alert: alert.toLowerCase() };
  return { reason: COMMON[words] ?? 'malformed' };
}
