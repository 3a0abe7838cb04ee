import type { IncomingMessage, ServerResponse } from 'node:http';
import { send, sendError, sendPage, sendRedirect } from './responses.js';

const HTML = 'text/html; charset=utf-8';

/** `/` and every unknown path. `page` is empty for the page about the relay, `blank` for nothing, or a URL to go to. */
export function home(response: ServerResponse, page: string, derpEnabled: boolean): void {
  if (page === 'blank') sendPage(response, HTML, '');
  else if (page === '') sendPage(response, HTML, homePage(derpEnabled));
  else sendRedirect(response, 302, page);
}

export function robots(response: ServerResponse): void {
  sendPage(response, 'text/plain; charset=utf-8', 'User-agent: *\nDisallow: /\n');
}

/** `/derp/probe` and `/derp/latency-check`: how clients measure where they are, from browsers too. */
export function probe(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'GET' || request.method === 'HEAD') {
    send(response, 200, '', { 'Access-Control-Allow-Origin': '*' });
  } else {
    sendError(response, 405, 'bogus probe method');
  }
}

/** `/generate_204`: clients send a challenge, and take a missing echo for a captive portal. */
export function generate204(request: IncomingMessage, response: ServerResponse): void {
  const challenge = request.headers['x-tailscale-challenge'];
  response.setHeader('Cache-Control', 'no-cache, no-store, must-revalidate, no-transform, max-age=0');
  if (typeof challenge === 'string' && /^[A-Za-z0-9._:-]{1,64}$/.test(challenge)) {
    response.setHeader('X-Tailscale-Response', `response ${challenge}`);
  }
  response.writeHead(204).end();
}

function homePage(derpEnabled: boolean): string {
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
</ul>
${derpEnabled ? '' : '<p>Status: <b>disabled</b></p>\n'}</body>
</html>
`;
}
