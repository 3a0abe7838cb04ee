import type { Barrier } from '../../faults/barrier.js';
import type { KeyPair } from '../../protocol/key.js';
import type { WritableCounters } from '../counters.js';
import type { ConnectionId, PlanePolicy } from '../plane.js';
import type { Strangers } from '../strangers.js';
import type { Budgets } from './budgets.js';
import type { EventQueue } from './events.js';
import type { Failures } from './failures.js';
import type { QueueTime } from './queue-time.js';
import type { Room } from './room.js';
import type { JsTap } from './tap.js';
import type { Wheel } from './wheel.js';

/** A handshake that waits for a certificate. */
export interface ParkedHandshake {
  /** The certificates were replaced: it goes on if one fits now. */
  lookAgain(): void;
  /** Ends it and its socket. */
  end(): void;
}

/** What all parts of one plane share; it names no type of connection. */
export interface PlaneContext {
  /** The control plane replaces it as a whole: read it when it is needed, and keep no part of it. */
  policy: PlanePolicy;
  readonly keys: KeyPair;
  readonly counters: WritableCounters;
  readonly queueTime: QueueTime;
  readonly events: EventQueue;
  /** Connections that come to nothing before they are admitted. */
  readonly failures: Failures;
  /** Every handler of the plane runs behind it. */
  readonly barrier: Barrier;
  readonly wheel: Wheel;
  /** The current tap, if there is one. */
  tap?: JsTap | undefined;
  /** Counts the descriptors of connections. */
  readonly room: Room;
  /** Connections before their admission. */
  readonly strangers: Strangers;
  /** Handshakes that wait for a certificate, by connection. */
  readonly parked: Map<ConnectionId, ParkedHandshake>;
  /** Bytes of incomplete ClientInfo frames, over all connections. */
  loginBytes: number;
  /** The limits over all connections. */
  readonly budgets: Budgets;
}
