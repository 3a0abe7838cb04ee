import type { ClientStatus } from '../registry/client-status.js';
import { type ClientSort, type ClientsQuery, endpointOrder } from './clients-query.js';

/** One page of clients. */
export interface ClientsPage {
  readonly clients: readonly ClientStatus[];
  /** Connections that the filter lets through, on every page. */
  readonly conns: number;
  /** Node keys that have such a connection. */
  readonly keys: number;
  /** Such connections on later pages. */
  readonly remaining: number;
}

interface Entry {
  readonly client: ClientStatus;
  /** The column's value when the connection was looked at; counters rise meanwhile. */
  readonly value: number | string;
}

/** Walks all connections once and keeps the nearest behind the cursor. It holds at most three pages of them. */
export class ClientsWalk {
  private nearest: Entry[] = [];
  private readonly keys = new Set<string>();
  private conns = 0;
  private behind = 0;
  private readonly valueOf: (client: ClientStatus) => number | string;

  constructor(private readonly query: ClientsQuery) {
    this.valueOf = VALUES[query.sort];
  }

  take(clients: readonly ClientStatus[]): void {
    for (const client of clients) {
      if (!this.matches(client)) continue;
      this.conns += 1;
      this.keys.add(client.key);
      const entry = { client, value: this.valueOf(client) };
      if (!this.isBehind(entry)) continue;
      this.behind += 1;
      this.nearest.push(entry);
    }
    if (this.nearest.length > 2 * this.query.limit) this.shorten();
  }

  page(): ClientsPage {
    this.shorten();
    const { conns, nearest, keys, behind } = this;
    return { clients: nearest.map(({ client }) => client), conns, keys: keys.size, remaining: behind - nearest.length };
  }

  private shorten(): void {
    this.nearest = this.nearest.sort((one, other) => this.compare(one, other)).slice(0, this.query.limit);
  }

  private matches({ address, key, app }: ClientStatus): boolean {
    const { filter, apps } = this.query;
    if (apps && !apps.includes(app)) return false;
    switch (filter.by) {
      case 'ip':
        return endpointOrder(address, 0) === endpointOrder(filter.value, 0);
      case 'cidr':
        return filter.networks.has(address);
      case 'key':
        return key === filter.value;
      default:
        return true;
    }
  }

  private compare(one: Entry, other: Entry): number {
    const order = compare(one.value, other.value) || one.client.id - other.client.id;
    return this.query.descending ? -order : order;
  }

  private isBehind({ client, value }: Entry): boolean {
    const { after, descending } = this.query;
    if (!after) return true;
    const byValue = compare(value, after.value);
    if (byValue === 0 && after.conn === undefined) return false;
    const order = byValue || client.id - (after.conn ?? 0);
    return descending ? order < 0 : order > 0;
  }
}

/** What the connections are walked by, for each column. */
export const VALUES: Readonly<Record<ClientSort, (client: ClientStatus) => number | string>> = {
  key: ({ key }) => key,
  ip: ({ address, port }) => endpointOrder(address, port),
  conn: ({ id }) => id,
  connected: ({ connectedAt }) => connectedAt,
  rx: ({ received }) => received.bytes,
  tx: ({ sent }) => sent.bytes,
  rxpkts: ({ received }) => received.packets,
  txpkts: ({ sent }) => sent.packets,
  dropped: ({ dropped }) => dropped,
  queued: ({ queued }) => queued,
  senders: ({ senders }) => senders ?? -1,
  rtt: ({ roundTrip }) => roundTrip ?? -1,
  delay: ({ queueDelay }) => queueDelay?.mean ?? -1,
  maxdelay: ({ queueDelay }) => queueDelay?.max ?? -1,
};

function compare(one: number | string, other: number | string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
