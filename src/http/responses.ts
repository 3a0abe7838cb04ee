import { type ServerResponse, STATUS_CODES } from 'node:http';

const POLICY =
  "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'";

type Headers = Readonly<Record<string, string>>;

/** The headers of every page that a browser may show, as derper sends them. */
export const BROWSER_HEADERS: Headers = {
  'Strict-Transport-Security': 'max-age=63072000; includeSubDomains',
  'Content-Security-Policy': POLICY,
  'X-Frame-Options': 'DENY',
  'X-Content-Type-Options': 'nosniff',
};

/** {@link BROWSER_HEADERS} for pages below `/debug/`, which may use inline styles. */
export const DEBUG_HEADERS: Headers = {
  ...BROWSER_HEADERS,
  'Content-Security-Policy': `${POLICY}; style-src 'self' 'unsafe-inline'`,
};

export const HTML = 'text/html; charset=utf-8';
export const TEXT = 'text/plain; charset=utf-8';

/** Sends an error as text, with the headers and the final newline of Go's `http.Error`. */
export function sendError(response: ServerResponse, status: number, text: string, headers: Headers = {}): void {
  send(response, status, `${text}\n`, { ...headers, 'Content-Type': TEXT, 'X-Content-Type-Options': 'nosniff' });
}

const REFUSED_QUERIES = new WeakSet<ServerResponse>();

/** Refuses the query of a page of `/debug/`, which a client that may see the page has mistyped. */
export function refuseQuery(response: ServerResponse, text: string): void {
  REFUSED_QUERIES.add(response);
  sendError(response, 400, text, DEBUG_HEADERS);
}

/** Whether the request itself was well-formed, although the answer's status says otherwise. */
export function hasRefusedQuery(response: ServerResponse): boolean {
  return REFUSED_QUERIES.has(response);
}

export function sendPage(response: ServerResponse, contentType: string, body: string, headers = BROWSER_HEADERS): void {
  send(response, 200, body, { ...headers, 'Content-Type': contentType });
}

/** Redirects as Go does: a GET gets a page with the link, other methods an empty body. */
export function sendRedirect(response: ServerResponse, status: number, location: string, headers: Headers = {}): void {
  // As in Go, only the header is escaped.
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
  // As in Go, the answer to HEAD has the length of the omitted body; but it has no length of 0.
  const length = isHead && body === '' ? {} : { 'Content-Length': Buffer.byteLength(body) };
  response.writeHead(status, { ...headers, ...length }).end(isHead ? undefined : body);
}

/** Ends the connection of an answer at once, whether or not it is this one's turn: Node destroys one that waits only then. */
export function hangUp({ req }: ServerResponse): void {
  req.socket.destroy();
}

/** Go's text for an unsupported `Transfer-Encoding`. */
export const UNSUPPORTED_CODING = 'Unsupported transfer encoding';

/** The answer of Go's server to a malformed request, which has no Date. The connection ends with it. */
export function malformed(status: string, text = status): string {
  return `HTTP/1.1 ${status}\r\nContent-Type: ${TEXT}\r\nConnection: close\r\n\r\n${text}`;
}

/** Sends the {@link malformed} answer, behind the answers to earlier requests of the connection. */
export function sendMalformed(
  response: ServerResponse,
  status: number,
  reason: string,
  text = `${status} ${reason}`,
): void {
  response.sendDate = false;
  response.useChunkedEncodingByDefault = false;
  response.writeHead(status, reason, { 'Content-Type': TEXT, Connection: 'close' }).end(text);
}

const ENTITIES: Headers = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&#34;', "'": '&#39;' };

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ENTITIES[character] as string);
}
