import type { NodeKey } from '../../protocol/key.js';
import type { PeerGoneReason } from '../../protocol/wire.js';
import type { ConnectionId } from '../plane.js';
import type { PlaneContext } from './context.js';
import type { Egress } from './egress.js';
import type { Links } from './links.js';
import type { Lookups } from './lookups.js';
import type { Table } from './table.js';

/** A connection, as the sessions of other connections and the table see it. */
export interface Client {
  readonly id: ConnectionId;
  /** The address of its other end; empty if that is not known. */
  readonly address: string;
  /** The client may forward, watch, and close peers. */
  readonly mesh: boolean;
  readonly egress: Egress;
  /** Tells the client that a peer has left that sent it packets. */
  peerGone(key: NodeKey, reason: PeerGoneReason): void;
  /** The client has sent a Pong. */
  onPong(): void;
  /** Ends the connection after a fault in its own code. */
  fail(): void;
}

/** What forwarding needs of the plane. */
export interface ForwardingContext extends PlaneContext {
  readonly table: Table<Client>;
  readonly links: Links;
  readonly lookups: Lookups;
}
