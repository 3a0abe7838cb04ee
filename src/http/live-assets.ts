import { readFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { BROWSER_HEADERS, escapeHtml, HTML, sendPage } from './responses.js';

const SCRIPT = 'text/javascript; charset=utf-8';
const STYLES = 'text/css; charset=utf-8';

/** The files beside the page, by their names, with their types. */
const FILES: ReadonlyMap<string, string> = new Map([
  ['live.css', STYLES],
  ['live.js', SCRIPT],
  ['uPlot.iife.min.js', SCRIPT],
  ['uPlot.min.css', STYLES],
]);

/** As strict as derper's policy, and no text becomes a script. */
const HEADERS = {
  ...BROWSER_HEADERS,
  'Content-Security-Policy': `${BROWSER_HEADERS['Content-Security-Policy']}; require-trusted-types-for 'script'; trusted-types 'none'`,
  'Cache-Control': 'no-cache',
};

const read = new Map<string, string>();

/** The live page. `debugKey`, if the request had one, goes along with what the page asks for. */
export function sendLivePage(response: ServerResponse, debugKey: string | null): void {
  const query = debugKey ? `?debugkey=${encodeURIComponent(debugKey)}` : '';
  sendPage(response, HTML, file('live.html').replaceAll('{{query}}', escapeHtml(query)), HEADERS);
}

export function hasLiveFile(name: string): boolean {
  return FILES.has(name);
}

/** A file of the page, by a name that {@link hasLiveFile} knows. */
export function sendLiveFile(response: ServerResponse, name: string): void {
  sendPage(response, FILES.get(name) as string, file(name), HEADERS);
}

function file(name: string): string {
  const known = read.get(name) ?? readFileSync(placeOf(name), 'utf8');
  read.set(name, known);
  return known;
}

/** `npm run build` puts the files of uPlot beside ours; the sources have them where npm has put them. */
function placeOf(name: string): URL | string {
  const isOurs = name.startsWith('live.') || !import.meta.url.includes('/src/http/');
  const { resolve } = createRequire(import.meta.url);
  return isOurs ? new URL(`live/${name}`, import.meta.url) : resolve(`uplot/dist/${name}`);
}
