import { isIP } from 'node:net';
import { unmapped } from '../plane/address.js';
import { Networks } from '../plane/networks.js';
import { parseDuration } from '../protocol/duration.js';
import { addressBytes } from '../protocol/frame.js';
import { isNetwork } from '../protocol/network.js';

/** Columns that the list of clients can be walked by, as they are called in the query; derper has those of the first line. */
export const CLIENT_SORTS = [
  ...(['key', 'ip', 'conn', 'connected', 'rx', 'tx', 'rxpkts', 'txpkts'] as const),
  ...(['dropped', 'queued', 'senders', 'rtt', 'delay', 'maxdelay'] as const),
] as const;
export type ClientSort = (typeof CLIENT_SORTS)[number];

/** Clients of one page, unless the query names another number, and at most. */
const USUAL_LIMIT = 100;
const MOST_LIMIT = 1000;

/** Which clients a page shows, in which order, and behind which one it begins. */
export interface ClientsQuery {
  readonly filter: ClientFilter;
  /** App names of which a client has to have one; empty text is a client without a name. `undefined` is every client. */
  readonly apps: readonly string[] | undefined;
  readonly sort: ClientSort;
  readonly descending: boolean;
  readonly limit: number;
  readonly format: 'html' | 'json';
  readonly after: Cursor | undefined;
}

export type ClientFilter =
  | { readonly by: 'all' }
  | { readonly by: 'ip' | 'key'; readonly value: string }
  | { readonly by: 'cidr'; readonly value: string; readonly networks: Networks };

/** A page begins behind this value of the column, and behind this connection where several have the value. */
export interface Cursor {
  /** As the column compares: a number of milliseconds, bytes or packets, or text. */
  readonly value: number | string;
  /** `undefined` leaves out every connection that has the value. */
  readonly conn: number | undefined;
}

/** The query cannot be understood; the message says why. */
export class ClientsQueryError extends Error {}

/**
 * Reads the query of `/debug/clients/` as derper does. `undefined` where it filters by nothing: then the page is the index.
 * Throws a {@link ClientsQueryError}. `now` is in milliseconds since 1970.
 */
export function parseClientsQuery(query: string, now: number): ClientsQuery | undefined {
  const given = new URLSearchParams(query);
  const format = given.get('format') || 'html';
  if (format !== 'json' && format !== 'html') throw wrong('format', format, 'must be json or html');
  const filters = filtersOf(given);
  if (filters.length > 1) throw new ClientsQueryError('only one of all, ip, cidr and key may be given');
  const apps = given.has('app') ? given.getAll('app') : undefined;
  const filter = filters[0] ?? (apps && ({ by: 'all' } as const));
  if (!filter) return undefined;

  const order = given.get('sort') || 'key';
  const descending = order.startsWith('-');
  const sort = CLIENT_SORTS.find((name) => name === (descending ? order.slice(1) : order));
  if (!sort) throw wrong('sort', order, `must be one of ${CLIENT_SORTS.join(', ')}, with or without a leading -`);
  return {
    filter,
    apps,
    sort,
    descending,
    limit: limitOf(given),
    format,
    after: cursorOf(given, sort, descending, now),
  };
}

function filtersOf(given: URLSearchParams): ClientFilter[] {
  const filters: ClientFilter[] = given.has('all') ? [{ by: 'all' }] : [];
  const [ip, cidr, key] = [given.get('ip'), given.get('cidr'), given.get('key')];
  if (ip) {
    if (isIP(ip) === 0) throw wrong('ip', ip, 'must be an IP address');
    filters.push({ by: 'ip', value: unmapped(ip) });
  }
  if (cidr) {
    if (!isNetwork(cidr)) throw wrong('cidr', cidr, 'must be a network such as 192.0.2.0/24');
    filters.push({ by: 'cidr', value: cidr, networks: new Networks([cidr]) });
  }
  if (key) filters.push({ by: 'key', value: nodeKey('key', key) });
  return filters;
}

function limitOf(given: URLSearchParams): number {
  const text = given.get('limit');
  if (!text) return USUAL_LIMIT;
  if (!/^\+?\d{1,18}$/.test(text) || Number(text) < 1) throw wrong('limit', text, 'must be a number above 0');
  return Math.min(Number(text), MOST_LIMIT);
}

function cursorOf(given: URLSearchParams, sort: ClientSort, descending: boolean, now: number): Cursor | undefined {
  const after = given.get('after');
  if (!after) return undefined;
  const value = cursorValue(sort, after, descending, now);
  const conn = sort === 'conn' ? undefined : given.get('afterconn');
  return { value, conn: conn ? whole('afterconn', conn) : undefined };
}

function cursorValue(sort: ClientSort, after: string, descending: boolean, now: number): number | string {
  switch (sort) {
    case 'key':
      return nodeKey('after', after);
    case 'ip': {
      const { v6, v4, port } = /^(?:\[(?<v6>[^\]]+)\]|(?<v4>[^:]+)):(?<port>\d{1,5})$/.exec(after)?.groups ?? {};
      const address = v6 ?? v4 ?? after;
      if (isIP(address) === 0 || Number(port ?? 0) > 65535)
        throw wrong('after', after, 'must be an address, or address:port');
      // An address alone is behind all of its ports, whichever way the walk goes.
      return endpointOrder(address, port === undefined ? (descending ? 0 : 65535) : Number(port));
    }
    case 'connected': {
      // The links of pages have nanoseconds since 1970; a person writes how long a connection has been there.
      if (/^-?\d+$/.test(after)) return Number(BigInt(after) / 1_000_000n);
      const duration = parseDuration(after);
      if (duration === undefined)
        throw wrong('after', after, 'must be nanoseconds since 1970, or a duration such as 30m');
      return now - duration;
    }
    case 'rtt':
    case 'delay':
    case 'maxdelay':
      // A client of which there is none stands before all others.
      if (!/^(?:-1|\d{1,9}(?:\.\d{1,9})?)$/.test(after)) throw wrong('after', after, 'must be milliseconds');
      return Number(after);
    default:
      return whole('after', after);
  }
}

/** Text that compares as addresses do: unknown ones before IPv4 before IPv6, each by its bytes, then by port. */
export function endpointOrder(address: string, port: number): string {
  const family = isIP(address);
  const bytes =
    addressBytes(address)
      ?.subarray(family === 4 ? 12 : 0)
      .toString('hex') ?? '';
  return `${family}${bytes}${port.toString(16).padStart(4, '0')}`;
}

function nodeKey(name: string, text: string): string {
  if (!/^nodekey:[0-9a-fA-F]{64}$/.test(text)) throw wrong(name, text, 'must be nodekey: and 64 hex digits');
  return text.toLowerCase();
}

function whole(name: string, text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw wrong(name, text, 'must be a whole number');
  return Number(text);
}

function wrong(name: string, text: string, must: string): ClientsQueryError {
  return new ClientsQueryError(`${name} ${must}, not ${JSON.stringify(text.slice(0, 100))}`);
}

/** The query of a page with the same filter, size and format, walked by `sort`, a leading `-` included. */
export function clientsLink(query: ClientsQuery, sort: string, after?: Cursor & { readonly text: string }): string {
  const { filter, apps, limit, format } = query;
  const link = new URLSearchParams();
  if (filter.by === 'all') link.set('all', '1');
  else link.set(filter.by, filter.value);
  for (const app of apps ?? []) link.append('app', app);
  link.set('sort', sort);
  if (after) link.set('after', after.text);
  if (after?.conn !== undefined) link.set('afterconn', String(after.conn));
  if (limit !== USUAL_LIMIT) link.set('limit', String(limit));
  if (format === 'json') link.set('format', 'json');
  link.sort();
  return `?${link}`;
}
