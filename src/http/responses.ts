import type { ServerResponse } from 'node:http';

/** What derper sends with every page that a browser may show. */
const BROWSER_HEADERS = {
  'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
  'Content-Security-Policy':
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'",
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
};

/** An error as text, with the headers and the final newline that Go's helper gives it. */
export function sendError(response: ServerResponse, status: number, text: string): void {
  send(response, status, `${text}\n`, {
    'Content-Type': 'text/plain; charset=utf-8',
    'X-Content-Type-Options': 'nosniff',
  });
}

export function sendPage(response: ServerResponse, contentType: string, body: string): void {
  send(response, 200, body, { ...BROWSER_HEADERS, 'Content-Type': contentType });
}

export function sendRedirect(response: ServerResponse, status: number, location: string): void {
  send(response, status, '', { ...BROWSER_HEADERS, Location: location });
}

export function send(response: ServerResponse, status: number, body: string, headers: Record<string, string>): void {
  response.writeHead(status, { ...headers, 'Content-Length': Buffer.byteLength(body) });
  response.end(response.req.method === 'HEAD' ? undefined : body);
}
