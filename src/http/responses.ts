import { type ServerResponse, STATUS_CODES } from 'node:http';

const POLICY =
  "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'";

type Headers = Readonly<Record<string, string>>;

/** What derper sends with every page that a browser may show. */
export const BROWSER_HEADERS: Headers = {
  'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
  'Content-Security-Policy': POLICY,
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
};

/** The same for pages below `/debug/`, which may style themselves. */
export const DEBUG_HEADERS: Headers = {
  ...BROWSER_HEADERS,
  'Content-Security-Policy': `${POLICY}; style-src 'self' 'unsafe-inline'`,
};

export const HTML = 'text/html; charset=utf-8';
export const TEXT = 'text/plain; charset=utf-8';

/** An error as text, with the headers and the final newline that Go's helper gives it. */
export function sendError(response: ServerResponse, status: number, text: string, headers: Headers = {}): void {
  send(response, status, `${text}\n`, { ...headers, 'Content-Type': TEXT, 'X-Content-Type-Options': 'nosniff' });
}

export function sendPage(response: ServerResponse, contentType: string, body: string, headers = BROWSER_HEADERS): void {
  send(response, 200, body, { ...headers, 'Content-Type': contentType });
}

/** As Go redirects: browsers get a page with the link, others nothing. */
export function sendRedirect(response: ServerResponse, status: number, location: string, headers: Headers = {}): void {
  // As Go does it, in the header alone.
  const ascii = location.replaceAll(/[^\0-\x7f]/gu, (character) => encodeURIComponent(character).toLowerCase());
  const all = { ...headers, Location: ascii };
  const { method } = response.req;
  if (method === 'GET') {
    const page = `<a href="${escapeHtml(location)}">${STATUS_CODES[status]}</a>.\n\n`;
    send(response, status, page, { ...all, 'Content-Type': HTML });
  } else if (method === 'HEAD') {
    response.writeHead(status, { ...all, 'Content-Type': HTML }).end();
  } else {
    send(response, status, '', all);
  }
}

export function send(response: ServerResponse, status: number, body: string, headers: Headers): void {
  const isHead = response.req.method === 'HEAD';
  // To HEAD Go tells the length of what is left out, and not that nothing is.
  const length = isHead && body === '' ? {} : { 'Content-Length': Buffer.byteLength(body) };
  response.writeHead(status, { ...headers, ...length }).end(isHead ? undefined : body);
}

/** Go's words for a body in a form that it cannot read. */
export const UNSUPPORTED_CODING = 'Unsupported transfer encoding';

/** What Go's server says itself of a request that it cannot read, down to the missing Date. The connection ends with it. */
export function malformed(status: string, text = status): string {
  return `HTTP/1.1 ${status}\r\nContent-Type: ${TEXT}\r\nConnection: close\r\n\r\n${text}`;
}

/** The same, behind the answers to earlier requests of the connection. */
export function sendMalformed(
  response: ServerResponse,
  status: number,
  reason: string,
  text = `${status} ${reason}`,
): void {
  response.sendDate = false;
  response.useChunkedEncodingByDefault = false;
  response.shouldKeepAlive = false;
  response.writeHead(status, reason, { 'Content-Type': TEXT, Connection: 'close' }).end(text);
}

const ENTITIES: Headers = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' };

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
}
