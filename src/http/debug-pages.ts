import type { ServerResponse } from 'node:http';
import { type ClientsSource, sendClients, sendClientsJson } from './clients-page.js';
import type { DebugReach } from './debug-access.js';
import { type FleetSource, sendFleet, sendFleetJson } from './fleet-page.js';
import { htmlPage, htmlTable } from './html-table.js';
import { hasLiveFile, sendLiveFile, sendLivePage } from './live-assets.js';
import type { LiveFeed } from './live-feed.js';
import { sendCpuProfile, sendHeapSnapshot, sendProfiles } from './pprof-pages.js';
import { DEBUG_HEADERS, escapeHtml, HTML, sendError, sendPage, TEXT } from './responses.js';
import { sendTap, type TapSource } from './tap-page.js';
import { sendTraffic } from './traffic-page.js';

/** The contents of the pages below `/debug/`. */
export interface DebugSource extends ClientsSource, FleetSource, TapSource {
  /** Names and values at the top of the index page. */
  facts(): readonly (readonly [name: string, value: string])[];
  /** expvar JSON. */
  vars(): string;
  /** Prometheus text. */
  varz(): string;
  /** A table of certificates; its first row has the column names. */
  certificates(): readonly (readonly string[])[];
  /** What feeds the live page. */
  readonly live: LiveFeed;
  /** Inconsistencies of the relay's state; empty if there are none. */
  check(): Promise<readonly string[]>;
}

interface Page {
  /** Which requests it answers; `near` if absent. */
  readonly reach?: Exclude<DebugReach, 'near'>;
  /** `query` is what stands behind the question mark. */
  send(response: ServerResponse, source: DebugSource, query: string): Promise<void>;
}

/** A page that the index lists, with what it shows. */
interface ListedPage extends Page {
  readonly about: string;
}

/** Pages by their path below `/debug/`. */
const PAGES: ReadonlyMap<string, ListedPage> = new Map<string, ListedPage>([
  [
    'vars',
    {
      about: 'metrics as JSON',
      send: async (response, source) =>
        sendPage(response, 'application/json; charset=utf-8', source.vars(), DEBUG_HEADERS),
    },
  ],
  [
    'varz',
    {
      about: 'metrics for Prometheus',
      send: async (response, source) => sendPage(response, TEXT, source.varz(), DEBUG_HEADERS),
    },
  ],
  [
    'certificates',
    {
      about: 'certificates: their names, ends and next steps',
      send: async (response, source) =>
        sendPage(response, HTML, htmlPage('certificates', htmlTable(source.certificates())), DEBUG_HEADERS),
    },
  ],
  ['clients/', { about: 'clients that are connected, by address, network, key or app', send: sendClients }],
  [
    'live',
    {
      about: 'what the relay does, drawn every second',
      send: async (response, _source, query) => sendLivePage(response, new URLSearchParams(query).get('debugkey')),
    },
  ],
  ['clients.json', { about: 'the same list for programs, with every figure', send: sendClientsJson }],
  ['fleet', { about: 'the relays of the region, and where a key is, for ?key=', send: sendFleet }],
  ['fleet.json', { about: 'the same relays for programs', send: sendFleetJson }],
  ['traffic', { about: 'clients that send or get packets, every two seconds', send: sendTraffic }],
  ['tap', { about: 'packets as they pass, for this machine and the debug key', reach: 'machine', send: sendTap }],
  ['pprof/', { about: 'profiles of the JavaScript thread', send: sendProfiles }],
  ['check', { about: 'whether the books are in order', send: check }],
]);

export function debugPage(path: string): Page | undefined {
  const name = path.slice('/debug/'.length);
  if (name.startsWith('live/')) return partOfLive(name.slice('live/'.length));
  return PROFILES.get(name) ?? PAGES.get(name.startsWith('clients/') ? 'clients/' : name);
}

/** The profiles, which the index of `/debug/` does not list one by one. */
const PROFILES: ReadonlyMap<string, Page> = new Map<string, Page>([
  ['pprof/profile', { reach: 'own', send: (response, _source, query) => sendCpuProfile(response, query) }],
  ['pprof/heapsnapshot', { reach: 'key', send: sendHeapSnapshot }],
]);

/** What the live page asks for: its feed, or a file. */
function partOfLive(name: string): Page | undefined {
  if (name === 'events') return { reach: 'own', send: async (response, { live }) => live.join(response) };
  return hasLiveFile(name) ? { send: async (response) => sendLiveFile(response, name) } : undefined;
}

export function debugIndex(response: ServerResponse, source: DebugSource, headers: Readonly<Record<string, string>>) {
  const facts = source.facts().map(([name, value]) => `<li><b>${escapeHtml(name)}:</b> ${escapeHtml(value)}</li>`);
  const links = [...PAGES].map(
    ([path, { about }]) => `<li><a href="/debug/${path}">/debug/${path}</a> (${escapeHtml(about)})</li>`,
  );
  const list = [...facts, ...links].join('\n');
  const title = 'derper debug';
  const head = `<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>${title}</title></head>`;
  sendPage(response, HTML, `${head}\n<body><h1>${title}</h1><ul>\n${list}\n</ul></body></html>\n`, headers);
}

async function check(response: ServerResponse, source: DebugSource): Promise<void> {
  const problems = await source.check().catch((error: Error) => [error.message]);
  // The client may have disconnected meanwhile.
  if (response.destroyed) return;
  if (problems.length > 0) sendError(response, 500, problems.join(', '), DEBUG_HEADERS);
  else sendPage(response, TEXT, 'derp.Server ConsistencyCheck okay', DEBUG_HEADERS);
}
