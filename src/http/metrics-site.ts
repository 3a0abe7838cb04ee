/** The pages of the metrics listener: `/metrics`, `/healthz` and `/readyz`. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Networks } from '../plane/networks.js';
import { parseTarget } from './paths.js';
import { send, sendError, sendMalformed, TEXT } from './responses.js';
import { answersFlawed } from './site.js';

export interface MetricsSource {
  /** All metrics, as OpenMetrics or as Prometheus' own text. */
  metrics(asOpenMetrics: boolean): { readonly contentType: string; readonly text: string };
  /** Why the relay does not serve, in words; empty if it does. */
  unready(): readonly string[];
  /** Whether an Authorization header gives access; `undefined` if none is needed. */
  readonly isToken: ((header: string | undefined) => boolean) | undefined;
  /** Whether a Host header, of a client on this machine, is a name of this relay. */
  isOurs(host: string): boolean;
}

type Page = (request: IncomingMessage, response: ServerResponse) => void;

/** The addresses of this machine that no other one reaches it by. */
const LOCAL = new Networks(['127.0.0.0/8', '::1/128']);
const NO_STORE = { 'Cache-Control': 'no-store' };

export class MetricsSite {
  private readonly pages: ReadonlyMap<string, Page> = new Map<string, Page>([
    ['/metrics', (request, response) => this.metrics(request, response)],
    ['/healthz', (_request, response) => this.say(response, 200, 'alive')],
    ['/readyz', (request, response) => this.readiness(request, response)],
  ]);

  constructor(private readonly source: MetricsSource) {}

  answer(request: IncomingMessage, response: ServerResponse, _face: unknown, address: string): void {
    if (answersFlawed(request, response)) return;
    const { method, url, headers } = request;
    const target = parseTarget(url as string);
    const page = target && this.pages.get(target.path);
    if (!target) sendMalformed(response, 400, 'Bad Request');
    else if (!page || target.redirect !== undefined) sendError(response, 404, '404 page not found');
    else if (method !== 'GET' && method !== 'HEAD') {
      sendError(response, 405, 'only GET and HEAD are answered here', { Allow: 'GET, HEAD' });
    } else if (this.isMisled(headers.host, address)) {
      const { host } = headers;
      sendError(response, 403, `${host} is not a name of this relay; debugHosts adds names, or set metrics.tokenFile`);
    } else page(request, response);
  }

  /**
   * Whether a page in a browser of this machine may ask here under a name of its own. A token keeps it out, and so does any
   * other address than those of this machine, which scrapers reach under names that the relay does not know.
   */
  private isMisled(host: string | undefined, address: string): boolean {
    const { source } = this;
    return !source.isToken && host !== undefined && LOCAL.has(address) && !source.isOurs(host);
  }

  private metrics(request: IncomingMessage, response: ServerResponse): void {
    if (this.source.isToken && !this.source.isToken(request.headers.authorization)) {
      const headers = { 'WWW-Authenticate': 'Bearer realm="metrics"' };
      sendError(response, 401, 'the token of metrics.tokenFile is needed: Authorization: Bearer TOKEN', headers);
      return;
    }
    const { contentType, text } = this.source.metrics(prefersOpenMetrics(request.headers.accept));
    send(response, 200, text, { ...NO_STORE, 'Content-Type': contentType });
  }

  /** Health checks cannot show a token, so without one they learn the status, and no reasons. */
  private readiness({ headers }: IncomingMessage, response: ServerResponse): void {
    const reasons = this.source.unready();
    const { isToken } = this.source;
    if (reasons.length === 0) this.say(response, 200, 'ready');
    else if (isToken && !isToken(headers.authorization)) this.say(response, 503, 'not ready');
    else this.say(response, 503, ['not ready:', ...reasons].join('\n'));
  }

  private say(response: ServerResponse, status: number, text: string): void {
    send(response, status, `${text}\n`, { ...NO_STORE, 'Content-Type': TEXT });
  }
}

/** Whether the client would rather have OpenMetrics than Prometheus' text, which is the answer to all others. */
function prefersOpenMetrics(accept: string | undefined): boolean {
  const best = { open: 0, text: 0 };
  for (const entry of (accept ?? '').split(',')) {
    const [type, ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase());
    const given = parameters.find((parameter) => parameter.startsWith('q='));
    const quality = given === undefined ? 1 : Number(given.slice(2)) || 0;
    if (type === 'application/openmetrics-text') best.open = Math.max(best.open, quality);
    else if (type === 'text/plain') best.text = Math.max(best.text, quality);
  }
  return best.open > 0 && best.open >= best.text;
}
