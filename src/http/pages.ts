import type { IncomingMessage, ServerResponse } from 'node:http';
import { BROWSER_HEADERS, HTML, send, sendError, sendPage, sendRedirect, TEXT } from './responses.js';

export interface HomeOptions {
  /** Empty for the page about the relay, `blank` for an empty page, or a URL to redirect to. */
  readonly home: string;
  readonly hostname: string;
  /** Whether the relay serves DERP. */
  readonly derp: boolean;
}

/** Tailscale's own relays, whose page has an address for reports of abuse. */
const PRODUCTION = /^derp[^.]*\.tailscale\.com\.?$/;

/** The page for `/` and every unknown path. `debug`: the client has access to `/debug/`, so the page links to it. */
export function home(response: ServerResponse, options: HomeOptions, debug: boolean): void {
  if (options.home === 'blank') sendPage(response, HTML, '');
  else if (options.home === '') sendPage(response, HTML, homePage(options, debug));
  else sendRedirect(response, 302, options.home, BROWSER_HEADERS);
}

export function robots(response: ServerResponse): void {
  sendPage(response, TEXT, 'User-agent: *\nDisallow: /\n');
}

/** `/derp/probe` and `/derp/latency-check`: clients measure their latency with it, also from browsers. */
export function probe(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'GET' || request.method === 'HEAD') {
    send(response, 200, '', { 'Access-Control-Allow-Origin': '*' });
  } else {
    sendError(response, 405, 'bogus probe method');
  }
}

/**
 * `/generate_204`: a client sends a challenge, and concludes from a missing echo that it is behind a captive portal.
 */
export function generate204(request: IncomingMessage, response: ServerResponse): void {
  const challenge = request.headers['x-tailscale-challenge'];
  response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate, no-transform, max-age=0');
  if (typeof challenge === 'string' && /^[A-Za-z0-9._:-]{1,64}$/.test(challenge)) {
    response.setHeader('X-Tailscale-Response', `response ${challenge}`);
  }
  response.writeHead(204).end();
}

/** `/bootstrap-dns`. Closes the connection, because the client's next request goes to another relay. */
export function bootstrapDns(response: ServerResponse, json: string): void {
  sendPage(response, 'application/json', json, { ...BROWSER_HEADERS, Connection: 'close' });
}

function homePage({ hostname, derp }: HomeOptions, debug: boolean): string {
  const production = PRODUCTION.test(hostname);
  const paragraphs = [
    production &&
      '<p>To report abuse, write to <a href="mailto:security@tailscale.com">security@tailscale.com</a>: see the\n' +
        '<a href="https://tailscale.com/security-policies">security policies</a> and the\n' +
        '<a href="https://tailscale.com/tailscale-aup">acceptable use policy</a>.</p>',
    !derp && '<p>Status: <b>disabled</b></p>',
    debug && '<p>For its operators: <a href="/debug/">/debug/</a></p>',
  ];
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>DERP relay</title></head>
<body>
<h1>DERP</h1>
<p>This is a <a href="https://tailscale.com/">Tailscale</a> DERP relay: it carries end-to-end encrypted packets between
devices that cannot reach each other directly, and cannot read them.</p>
<ul>
<li><a href="https://tailscale.com/kb/1232/derp-servers">About DERP servers</a></li>
<li><a href="https://pkg.go.dev/tailscale.com/derp">The protocol</a></li>
<li><a href="https://github.com/tailscale/tailscale/tree/main/cmd/derper#derp">Running one</a></li>
</ul>
${paragraphs
  .filter(Boolean)
  .map((text) => `${text}\n`)
  .join('')}</body>
</html>
`;
}
