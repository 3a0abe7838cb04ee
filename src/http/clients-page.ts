import type { ServerResponse } from 'node:http';
import type { ClientStatus } from '../registry/client-status.js';
import {
  CLIENT_SORTS,
  type ClientSort,
  type ClientsQuery,
  ClientsQueryError,
  clientsLink,
  parseClientsQuery,
} from './clients-query.js';
import { type ClientsPage, ClientsWalk, VALUES } from './clients-walk.js';
import { DEBUG_HEADERS, escapeHtml, HTML, refuseQuery, sendError, sendPage } from './responses.js';

/** Where the list of clients comes from. */
export interface ClientsSource {
  /** All connections in pieces, between which the relay does other work. */
  clients(): AsyncIterable<readonly ClientStatus[]>;
  /** Connections, and node keys that have one. */
  counts(): { readonly connections: number; readonly localKeys: number };
}

/** Pages that are made at once: each walks over all connections. */
const MOST_WALKS = 4;
const JSON_TYPE = 'application/json';
/** Columns whose heads are links: the first click shows the largest of these first. */
const COUNTERS: ReadonlySet<ClientSort> = new Set([
  ...(['rx', 'tx', 'rxpkts', 'txpkts', 'dropped', 'queued', 'senders', 'rtt', 'delay', 'maxdelay'] as const),
]);

let walks = 0;

/** `/debug/clients/`, as derper has it: an index, or one page of clients as HTML or JSON. */
export async function sendClients(response: ServerResponse, source: ClientsSource, query: string): Promise<void> {
  const parsed = understand(response, query);
  if (parsed === 'refused') return;
  if (parsed) {
    await walk(response, source, parsed, (page) => {
      if (parsed.format === 'json') sendJson(response, derperJson(parsed, page));
      else sendPage(response, HTML, listPage(parsed, page), DEBUG_HEADERS);
    });
    return;
  }
  const { connections: conns, localKeys: keys } = source.counts();
  if (new URLSearchParams(query).get('format') === 'json') sendJson(response, `${JSON.stringify({ conns, keys })}\n`);
  else sendPage(response, HTML, indexPage(conns, keys), DEBUG_HEADERS);
}

/** `/debug/clients.json`: the query of `/debug/clients/`, and every figure that there is. */
export async function sendClientsJson(response: ServerResponse, source: ClientsSource, query: string): Promise<void> {
  const given = new URLSearchParams(query);
  given.set('format', 'json');
  // Without a filter, the list is of all clients.
  const parsed = understand(response, `${given}`) ?? understand(response, `${given}&all`);
  if (typeof parsed !== 'object') return;
  await walk(response, source, parsed, (page) => {
    const { conns: connections, keys, remaining, clients } = page;
    sendJson(response, `${JSON.stringify({ connections, keys, remaining, next: nextLink(parsed, page), clients })}\n`);
  });
}

function understand(response: ServerResponse, query: string): ClientsQuery | undefined | 'refused' {
  try {
    return parseClientsQuery(query, Date.now());
  } catch (error) {
    if (!(error instanceof ClientsQueryError)) throw error;
    refuseQuery(response, error.message);
    return 'refused';
  }
}

async function walk(
  response: ServerResponse,
  source: ClientsSource,
  query: ClientsQuery,
  then: (page: ClientsPage) => void,
): Promise<void> {
  if (walks >= MOST_WALKS) {
    sendError(response, 503, `${MOST_WALKS} lists of clients are being made already; try again`, DEBUG_HEADERS);
    return;
  }
  walks += 1;
  try {
    const found = new ClientsWalk(query);
    for await (const piece of source.clients()) {
      if (response.destroyed) return;
      found.take(piece);
    }
    then(found.page());
  } finally {
    walks -= 1;
  }
}

function sendJson(response: ServerResponse, body: string): void {
  sendPage(response, JSON_TYPE, body, DEBUG_HEADERS);
}

/** The names and units of derper's JSON. */
function derperJson(query: ClientsQuery, page: ClientsPage): string {
  const now = Date.now();
  const clients = page.clients.map((client) => ({
    connNum: client.id,
    key: client.key,
    remote: remoteOf(client),
    connectedAt: new Date(client.connectedAt).toISOString(),
    connected: Math.max(0, now - client.connectedAt) * 1e6,
    active: client.active,
    dup: client.duplicate,
    // derper disables duplicates in its own tests alone.
    disabled: false,
    home: client.home,
    meshPeer: client.mesh,
    notIdeal: client.notIdeal,
    prober: client.prober,
    version: client.version,
    appName: client.app,
    rxPkts: client.received.packets,
    rxBytes: client.received.bytes,
    txPkts: client.sent.packets,
    txBytes: client.sent.bytes,
    // derper has 0 where it does not count.
    senders: client.senders ?? 0,
  }));
  const { conns, keys, remaining } = page;
  const next = nextLink(query, page);
  const all = { query: describe(query), conns, keys, remaining, ...(next && { next }), clients };
  return `${JSON.stringify(all, undefined, '\t')}\n`;
}

/** The link to the page behind this one; empty on the last. */
function nextLink(query: ClientsQuery, { clients, remaining }: ClientsPage): string {
  const last = clients.at(-1);
  if (remaining === 0 || !last) return '';
  const value = VALUES[query.sort](last);
  return clientsLink(query, sortParameter(query), {
    text: cursorText(query.sort, last, value),
    value,
    conn: query.sort === 'conn' ? undefined : last.id,
  });
}

function cursorText(sort: ClientSort, client: ClientStatus, value: number | string): string {
  if (sort === 'ip') return remoteOf(client);
  return sort === 'connected' ? `${value}000000` : String(value);
}

function sortParameter({ sort, descending }: ClientsQuery): string {
  return descending ? `-${sort}` : sort;
}

function describe({ filter, apps }: ClientsQuery): string {
  const named = apps ? ` with app ${apps.map((app) => app || '(none)').join(' or ')}` : '';
  switch (filter.by) {
    case 'all':
      return `all clients${named}`;
    case 'key':
      return `connections for ${filter.value}${named}`;
    default:
      return `clients from ${filter.value}${named}`;
  }
}

function remoteOf({ address, port }: ClientStatus): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

const STYLE = [
  ':root { color-scheme: light dark; font-family: system-ui, sans-serif }',
  'table { border-collapse: collapse; font-family: ui-monospace, monospace; font-size: small }',
  'th, td { border-bottom: 1px solid #8886; padding: .2em .6em; text-align: left; white-space: nowrap }',
  'td.number { text-align: right }',
].join('\n');

function page(title: string, body: string): string {
  const head = `<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escapeHtml(title)}</title>`;
  return `<!doctype html>\n<html lang="en">\n<head>${head}\n<style>\n${STYLE}\n</style></head>\n<body><h1>${escapeHtml(title)}</h1>\n${body}\n</body></html>\n`;
}

function indexPage(conns: number, keys: number): string {
  const field = (name: string, label: string, example: string) =>
    `<form><label>${label}: <input name="${name}" size="40" placeholder="${example}"></label> <button>Show</button></form>`;
  const rows = [
    `<p>${conns} connections of ${keys} node keys.</p>`,
    '<p><a href="?all=1">All clients</a>, <a href="?all=1&amp;sort=-rx">those that send most first</a></p>',
    field('ip', 'Address', '192.0.2.1'),
    field('cidr', 'Network', '192.0.2.0/24'),
    field('key', 'Node key', 'nodekey:…'),
    field('app', 'App name', 'tailcat'),
    `<p>The query takes <code>sort</code> (${CLIENT_SORTS.join(', ')}; a leading <code>-</code> turns the order round),`,
    '<code>limit</code>, <code>after</code> (a value of the sorted column; for connected a duration such as 30m, too), more',
    'than one <code>app</code>, and <code>format=json</code>.</p>',
  ];
  return page('clients', rows.join('\n'));
}

const COLUMNS: readonly (readonly [
  head: string,
  sort: ClientSort | undefined,
  cell: (client: ClientStatus) => string,
])[] = [
  ['connection', 'conn', ({ id }) => number(id)],
  ['node key', 'key', ({ key }) => cell(`<a href="?key=${key}">${key}</a>`)],
  [
    'remote',
    'ip',
    (client) => cell(`<a href="?ip=${encodeURIComponent(client.address)}">${escapeHtml(remoteOf(client))}</a>`),
  ],
  ['connected', 'connected', ({ connectedAt }) => number(age(Date.now() - connectedAt))],
  ['flags', undefined, (client) => cell(flagsOf(client).join(' '))],
  ['TLS', undefined, ({ tls }) => cell(tls ?? '')],
  ['app', undefined, ({ app }) => cell(app && `<a href="?app=${encodeURIComponent(app)}">${escapeHtml(app)}</a>`)],
  ['packets from it', 'rxpkts', ({ received }) => number(received.packets)],
  ['bytes from it', 'rx', ({ received }) => number(received.bytes)],
  ['packets to it', 'txpkts', ({ sent }) => number(sent.packets)],
  ['bytes to it', 'tx', ({ sent }) => number(sent.bytes)],
  ['dropped', 'dropped', ({ dropped }) => number(dropped)],
  ['queued', 'queued', ({ queued }) => number(queued)],
  ['senders', 'senders', ({ senders }) => number(senders ?? '')],
  ['round trip, ms', 'rtt', ({ roundTrip }) => number(roundTrip ?? '')],
  ['queue delay, ms', 'delay', ({ queueDelay }) => number(queueDelay?.mean ?? '')],
  ['longest, ms', 'maxdelay', ({ queueDelay }) => number(queueDelay?.max ?? '')],
];

function listPage(query: ClientsQuery, shown: ClientsPage): string {
  const next = nextLink(query, shown);
  const more = next ? ` <a href="${escapeHtml(next)}">Next page</a> (${shown.remaining} more)` : '';
  const heads = COLUMNS.map(([head, sort]) => `<th>${sort ? headLink(query, sort, head) : head}</th>`).join('');
  const rows = shown.clients.map((client) => `<tr>${COLUMNS.map(([, , cellOf]) => cellOf(client)).join('')}</tr>`);
  const count = `${shown.clients.length} of ${shown.conns} connections (${shown.keys} node keys).`;
  const table = `<table>\n<tr>${heads}</tr>\n${rows.join('\n')}\n</table>`;
  return page(describe(query), `<p><a href="./">Index</a>. ${count}${more}</p>\n${table}\n<p>${more}</p>`);
}

/** A click sorts by the column, and a second one turns the order round. */
function headLink(query: ClientsQuery, sort: ClientSort, head: string): string {
  const isSorted = query.sort === sort;
  const descending = isSorted ? !query.descending : COUNTERS.has(sort);
  const arrow = isSorted ? (query.descending ? ' ▼' : ' ▲') : '';
  return `<a href="${escapeHtml(clientsLink(query, descending ? `-${sort}` : sort))}">${head}</a>${arrow}`;
}

function flagsOf({ home, mesh, prober, notIdeal, duplicate, active }: ClientStatus): string[] {
  const flags: readonly (readonly [boolean, string])[] = [
    [home, 'home'],
    [mesh, 'mesh'],
    [prober, 'prober'],
    [notIdeal, 'notideal'],
    [duplicate, active ? 'dup-active' : 'dup'],
  ];
  return flags.flatMap(([is, name]) => (is ? [name] : []));
}

function cell(html: string): string {
  return `<td>${html}</td>`;
}

function number(value: number | string): string {
  return `<td class="number">${value}</td>`;
}

/** Milliseconds as Go prints durations, in whole seconds. */
function age(milliseconds: number): string {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  const rest = `${seconds % 60}s`;
  return hours > 0 ? `${hours}h${minutes}m${rest}` : minutes > 0 ? `${minutes}m${rest}` : rest;
}
