/** Routes requests to their answers, like derper's two muxes: that of the relay, and that of port 80. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Barrier } from '../faults/barrier.js';
import { bodyFault, DERP_PATH, isHostField } from '../protocol/upgrade.js';
import type { DebugAccess, DebugReach, DebugVerdict } from './debug-access.js';
import { type DebugSource, debugIndex, debugPage } from './debug-pages.js';
import { bootstrapDns, generate204, type HomeOptions, home, probe, robots } from './pages.js';
import { parseTarget, type Target } from './paths.js';
import {
  BROWSER_HEADERS,
  send,
  sendError,
  sendMalformed,
  sendRedirect,
  TEXT,
  UNSUPPORTED_CODING,
} from './responses.js';

export interface SiteOptions extends HomeOptions {
  readonly barrier: Barrier;
  /** The ports that this process listens on. Behind a port mapping, clients see others. */
  readonly ports: () => { readonly plain: number; readonly tls: number };
  /** The JSON of `/bootstrap-dns` for the query (`q`) of a client with this address. */
  readonly bootstrapDns: (query: string | null, address: string) => string;
  /** Whether the relay is about to end, so that balancers have to look elsewhere. */
  readonly draining: () => boolean;
  /** Is told the query of each probe. */
  readonly probed: (query: string) => void;
  /** Answers a certificate authority's challenge over plain HTTP; `undefined` if the relay answers none. */
  readonly challengeAnswer: ((host: string, path: string) => Promise<{ status: number; text: string }>) | undefined;
  readonly debugAccess: DebugAccess;
  readonly debug: DebugSource;
  /** Whether a client without access to `/debug/` is told how to get it. For development. */
  readonly debugHint: () => boolean;
}

/** `main`: the relay itself. `redirect`: the HTTP listener beside a TLS relay. */
export type Face = 'main' | 'redirect';

/** Which requests a page answers, for those that it does not. */
const ANSWERED: Readonly<Record<Exclude<DebugReach, 'near'>, string>> = {
  own: 'requests that no web page of another site has sent',
  machine: 'requests from the machine of the relay, and requests with the debug key (debugKeyFile, TS_DEBUG_KEY_PATH)',
  key: 'requests with the debug key alone (debugKeyFile, TS_DEBUG_KEY_PATH)',
};

const NO_HOST = 'Bad Request: missing required Host header';
const MALFORMED_HOST = 'Bad Request: malformed Host header';
const NOT_FOUND = '404 page not found';

export class Site {
  constructor(private readonly options: SiteOptions) {}

  /** `address` is the client's IP text; empty if unknown. */
  answer(request: IncomingMessage, response: ServerResponse, face: Face, address: string): void {
    if (!answersFlawed(request, response)) this.page(request, response, face, address);
  }

  private page(request: IncomingMessage, response: ServerResponse, face: Face, address: string): void {
    // Only CONNECT may have a target that is not a path.
    if (request.method === 'CONNECT' && !(request.url as string).startsWith('/')) {
      sendError(response, 404, NOT_FOUND);
      return;
    }
    const target = parseTarget(request.url as string);
    if (!target) sendMalformed(response, 400, 'Bad Request');
    else if (face === 'main' && target.path === '/debug') sendRedirect(response, 307, `/debug/${queryOf(target)}`);
    else if (target.redirect !== undefined) sendRedirect(response, 307, target.redirect);
    else if (face === 'main') this.main(request, response, target, address);
    else this.redirect(request, response, target, address);
  }

  /** Exactly one valid Host header; HTTP/1.0 may omit it. */
  static hasHost({ headersDistinct, httpVersion }: IncomingMessage): boolean {
    const { host = [] } = headersDistinct;
    return host.length <= 1 && (host[0] === undefined ? httpVersion !== '1.1' : isHostField(host[0]));
  }

  /** The status that refuses the request for its announced body, if it is refused. */
  static bodyFault({ headersDistinct, httpVersion }: IncomingMessage): 400 | 501 | undefined {
    const { 'content-length': lengths = [], 'transfer-encoding': codings = [] } = headersDistinct;
    return bodyFault(lengths, codings, httpVersion === '1.1');
  }

  /** Whether the target is the path of DERP upgrades. */
  static isDerp(target: string): boolean {
    const parsed = parseTarget(target);
    return parsed?.path === DERP_PATH && parsed.redirect === undefined;
  }

  private main(request: IncomingMessage, response: ServerResponse, target: Target, address: string): void {
    switch (target.path) {
      case DERP_PATH:
        this.derpWithoutUpgrade(response);
        break;
      case '/derp/probe':
      case '/derp/latency-check':
        this.options.probed(target.query);
        if (this.options.draining()) sendError(response, 503, 'the relay is about to end');
        else probe(request, response);
        break;
      case '/generate_204':
        generate204(request, response);
        break;
      case '/bootstrap-dns':
        bootstrapDns(response, this.options.bootstrapDns(new URLSearchParams(target.query).get('q'), address));
        break;
      case '/robots.txt':
        robots(response);
        break;
      default:
        if (target.path.startsWith('/debug/')) this.debug(request, response, target, address);
        else home(response, this.options, this.allowsDebug(request, target, address));
    }
  }

  private derpWithoutUpgrade(response: ServerResponse): void {
    if (this.options.derp) sendError(response, 426, 'DERP requires connection upgrade');
    else sendError(response, 404, 'derp server disabled');
  }

  private debug(request: IncomingMessage, response: ServerResponse, target: Target, address: string): void {
    const page = debugPage(target.path);
    const verdict = this.debugVerdict(request, target, address, page?.reach);
    if (page?.reach && verdict === 'denied' && this.allowsDebug(request, target, address)) {
      sendError(response, 403, `debug access denied: ${target.path} answers ${ANSWERED[page.reach]}`);
    } else if (verdict === 'unknown host') {
      const { host } = request.headers;
      sendError(response, 403, `debug access denied: ${host} is not a name of this relay; debugHosts adds names`);
    } else if (verdict === 'denied') {
      const hint = page && this.options.debugHint() ? `; to permit access, set TS_ALLOW_DEBUG_IP=${address}` : '';
      sendError(response, 403, `debug access denied${hint}`);
    } else if (page) {
      const { barrier, debug } = this.options;
      void barrier.settle('http: a debug page', page.send(response, debug, target.query), () => response.destroy());
    } else if (target.path === '/debug/clients' || target.path === '/debug/pprof') {
      sendRedirect(response, 307, `${target.path}/${queryOf(target)}`);
    } else if (target.path === '/debug/') {
      debugIndex(response, this.options.debug, BROWSER_HEADERS);
    } else {
      sendError(response, 404, NOT_FOUND);
    }
  }

  private redirect(request: IncomingMessage, response: ServerResponse, target: Target, address: string): void {
    const asked = request.url as string;
    const { challengeAnswer } = this.options;
    if (target.path === '/generate_204') {
      generate204(request, response);
    } else if (challengeAnswer && target.path.startsWith('/.well-known/acme-challenge/')) {
      const answered = answerChallenge(response, challengeAnswer(request.headers.host ?? '', target.path));
      void this.options.barrier.settle('http: a challenge', answered, () => response.destroy());
    } else if (asked.startsWith('/debug')) {
      // The relay's mux answers, as for any request.
      this.page(request, response, 'main', address);
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      sendError(response, 400, 'Use HTTPS');
    } else {
      const authority = authorityOverTls(request.headers.host ?? '', this.options.ports());
      const debug = asked === '/' && this.allowsDebug(request, target, address);
      // Of an absolute target, the part behind the host. A target without a path was redirected to one before.
      const path = debug ? '/debug/' : asked.replace(/^[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#]*/, '');
      sendRedirect(response, 302, `https://${authority}${path}`);
    }
  }

  private allowsDebug(request: IncomingMessage, target: Target, address: string): boolean {
    return this.debugVerdict(request, target, address) === 'allowed';
  }

  private debugVerdict(
    { method, headers }: IncomingMessage,
    { query }: Target,
    address: string,
    reach?: DebugReach,
  ): DebugVerdict {
    const debugKey = new URLSearchParams(query).get('debugkey');
    return this.options.debugAccess.verdict({ method: method as string, debugKey, headers, address }, reach);
  }
}

/** Answers what no page is asked for: requests that are malformed, or about the server. False for any other request. */
export function answersFlawed(request: IncomingMessage, response: ServerResponse): boolean {
  const fault = Site.bodyFault(request);
  if (fault === 501) sendMalformed(response, 501, 'Not Implemented', UNSUPPORTED_CODING);
  else if (fault) sendMalformed(response, fault, 'Bad Request');
  else if (!Site.hasHost(request)) {
    const { host = [] } = request.headersDistinct;
    sendMalformed(response, 400, ([NO_HOST, MALFORMED_HOST] as const)[host.length] ?? 'Bad Request');
  } else if (request.url === '*') answerStar(request, response);
  else return false;
  return true;
}

/**
 * The authority for the redirect to TLS. A client that names our plain port reaches our own ports, so it gets our TLS
 * port. A client that names another port, or none, comes through a port mapping, of which the relay knows nothing: it
 * gets its own host back.
 */
function authorityOverTls(field: string, { plain, tls }: { readonly plain: number; readonly tls: number }): string {
  const [, host = field, port] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(field) ?? [];
  if (Number(port ?? 80) === plain) return tls === 443 ? host : `${host}:${tls}`;
  return field;
}

async function answerChallenge(response: ServerResponse, answer: Promise<{ status: number; text: string }>) {
  const { status, text } = await answer;
  if (status === 200) send(response, 200, text, { 'Content-Type': TEXT });
  else sendError(response, status, text);
}

function queryOf({ query }: Target): string {
  return query && `?${query}`;
}

/** Answers `*`: a question about the server, not about a page. */
function answerStar(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'OPTIONS') send(response, 200, '', {});
  else send(response, 400, '', { Connection: 'close' });
}
