import type { NodeKey } from '../../protocol/key.js';
import type { ConnectionId } from '../plane.js';
import { Duplicates } from './duplicates.js';
import type { EventQueue } from './events.js';

/** A connection, as the table sees it. */
export interface TableMember {
  readonly id: ConnectionId;
}

/** The connections of one key. */
export interface Entry<C extends TableMember> {
  readonly key: NodeKey;
  /** The connection that gets the packets. */
  active: C;
  /** Set while the key has several connections. */
  duplicates: Duplicates<C> | undefined;
}

/** The forwarding table, and which connections are told when the source of a packet leaves. */
export class Table<C extends TableMember> {
  private readonly entries = new Map<NodeKey, Entry<C>>();
  /** For each source key, the connections that were sent one of its packets. */
  private readonly told = new Map<NodeKey, Set<C>>();

  /** Sequence number of the last `active` event. */
  private sequence = 0;

  constructor(private readonly events: EventQueue) {}

  /** The connection that packets for `key` go to. */
  lookup(key: NodeKey): C | undefined {
    return this.entries.get(key)?.active;
  }

  /** Enters an admitted connection, which becomes the active one of its key at once. */
  add(connection: C, key: NodeKey): Entry<C> {
    const entry = this.entries.get(key);
    if (!entry) {
      const fresh: Entry<C> = { key, active: connection, duplicates: undefined };
      this.entries.set(key, fresh);
      return fresh;
    }
    if (entry.duplicates) entry.duplicates.add(connection);
    else entry.duplicates = new Duplicates(entry.active, connection);
    this.activate(entry, connection);
    return entry;
  }

  /** Notes that a connection of `entry` has sent a frame. */
  activity(entry: Entry<C>, connection: C): void {
    if (!entry.duplicates) return;
    entry.duplicates.activity(connection);
    if (entry.active !== connection) this.activate(entry, connection);
  }

  remove(entry: Entry<C>, connection: C): void {
    const { duplicates } = entry;
    if (!duplicates) {
      this.entries.delete(entry.key);
      return;
    }
    duplicates.remove(connection);
    if (duplicates.size === 1) entry.duplicates = undefined;
    const successor = duplicates.active;
    if (successor && successor !== entry.active) this.activate(entry, successor);
  }

  /** Notes that a packet of `source` was written to `destination`. Returns whether it is the first such connection. */
  subscribe(source: NodeKey, destination: C): boolean {
    const connections = this.told.get(source);
    if (connections) connections.add(destination);
    else this.told.set(source, new Set([destination]));
    return connections === undefined;
  }

  unsubscribe(source: NodeKey, destination: C): void {
    const connections = this.told.get(source);
    connections?.delete(destination);
    if (connections?.size === 0) this.told.delete(source);
  }

  /** Removes and returns the connections that were sent packets of `source`. */
  takeSubscribers(source: NodeKey): Iterable<C> {
    const connections = this.told.get(source) ?? [];
    this.told.delete(source);
    return connections;
  }

  private activate(entry: Entry<C>, connection: C): void {
    entry.active = connection;
    this.sequence += 1;
    this.events.active(entry.key, connection.id, this.sequence);
  }
}
