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
  /** Gets the packets. */
  active: C;
  /** Set while the key has several connections. */
  duplicates: Duplicates<C> | undefined;
}

/** The forwarding table, and who is to be told when a source of packets leaves. */
export class Table<C extends TableMember> {
  private readonly entries = new Map<NodeKey, Entry<C>>();
  /** Source key to the connections that were sent a packet of it. */
  private readonly told = new Map<NodeKey, Set<C>>();

  /** Of the last `active` that was reported. */
  private sequence = 0;

  constructor(private readonly events: EventQueue) {}

  /** Where packets for `key` go. */
  lookup(key: NodeKey): C | undefined {
    return this.entries.get(key)?.active;
  }

  /** Enters an admitted connection; it is its key's active one at once. */
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

  /** A frame came from one of the connections of `entry`. */
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

  /** A packet of `source` was written to `destination`. */
  subscribe(source: NodeKey, destination: C): void {
    let connections = this.told.get(source);
    if (!connections) {
      connections = new Set();
      this.told.set(source, connections);
    }
    connections.add(destination);
  }

  unsubscribe(source: NodeKey, destination: C): void {
    const connections = this.told.get(source);
    connections?.delete(destination);
    if (connections?.size === 0) this.told.delete(source);
  }

  /** Takes, and forgets, whoever was sent packets of `source`. */
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
