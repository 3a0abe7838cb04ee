import type { Barrier } from '../../faults/barrier.js';
import type { KeyPair } from '../../protocol/key.js';
import type { WritableCounters } from '../counters.js';
import type { ConnectionId, PlanePolicy } from '../plane.js';
import type { Strangers } from '../strangers.js';
import type { Budgets } from './budgets.js';
import type { Connection } from './connection.js';
import type { EventQueue } from './events.js';
import type { Handshake } from './handshake.js';
import type { Links } from './links.js';
import type { QueueTime } from './queue-time.js';
import type { Room } from './room.js';
import type { Table } from './table.js';
import type { JsTap } from './tap.js';
import type { Wheel } from './wheel.js';

/** What all parts of one plane share. */
export interface PlaneContext {
  /** Replaced as a whole by the control plane: read it where it is needed, keep nothing of it. */
  policy: PlanePolicy;
  readonly keys: KeyPair;
  readonly counters: WritableCounters;
  readonly queueTime: QueueTime;
  readonly events: EventQueue;
  /** Every handler of the plane runs behind it. */
  readonly barrier: Barrier;
  readonly table: Table;
  readonly wheel: Wheel;
  readonly links: Links;
  /** Whoever looks at packets. */
  tap?: JsTap | undefined;
  /** For the descriptors of connections. */
  readonly room: Room;
  /** Connections that are not admitted. */
  readonly strangers: Strangers;
  /** Handshakes that wait for a certificate. */
  readonly parked: Map<ConnectionId, Handshake>;
  /** DERP connections, from the greeting to their end. */
  readonly connections: Map<ConnectionId, Connection>;
  /** Those that have ended, and whose clients still read what waits for them. */
  readonly leaving: Set<Connection>;
  /** Of those that log in, bytes of ClientInfo frames that are not whole yet. */
  loginBytes: number;
  /** What is bounded over all connections. */
  readonly budgets: Budgets;
}
