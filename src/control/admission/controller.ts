/** Asks an admission controller, such as headscale's /verify, over HTTP. */
import { Agent, type IncomingHttpHeaders } from 'node:http';
import { Agent as TlsAgent } from 'node:https';
import type { SecureContext } from 'node:tls';
import { reasonOf } from '../../errors.js';
import { formatNodeKey } from '../../protocol/key.js';
import { MOST_ANSWER, readAllow } from './admit-answer.js';
import { type Agents, ask, KEPT, type Reply } from './http-ask.js';
import { type ProxyVariables, proxyFor } from './proxy.js';
import { isSocks } from './socks.js';
import { addressOf, proxyAuthorization, SocksAgent, TunnelAgent } from './tunnel.js';
import { ALLOWED, type Answer, denied, failed, type Question, type Verifier } from './verifier.js';

/** Go's limit. */
const MOST_REDIRECTS = 10;

export interface ControllerOptions {
  readonly url: URL;
  /** Headers of each request. They are not sent to another origin after a redirect. */
  readonly headers: () => Readonly<Record<string, string>>;
  /** The trusted authorities for an HTTPS URL; Node's own by default. */
  readonly secureContext?: SecureContext;
  readonly env: ProxyVariables;
}

interface Request {
  readonly url: URL;
  readonly method: 'POST' | 'GET';
}

export class Controller implements Verifier {
  readonly name: string;
  readonly bySource = true;
  /** Agents by origin: a redirect may lead to another one. */
  private readonly agents = new Map<string, Agents>();

  constructor(private readonly options: ControllerOptions) {
    // The rest of the URL may contain a secret.
    this.name = options.url.origin;
    this.agents.set(options.url.origin, this.agentsFor(options.url));
  }

  async ask(question: Question, signal: AbortSignal): Promise<Answer> {
    const body = JSON.stringify({ NodePublic: formatNodeKey(question.key), Source: question.address });
    let reply: Reply;
    try {
      reply = await this.follow({ url: this.options.url, method: 'POST' }, body, signal);
    } catch (error) {
      if (signal.aborted) return failed('no answer in time', { timeout: true, unreached: true });
      return failed(`it cannot be asked: ${reasonOf(error)}`, { unreached: true });
    }
    return this.answerOf(reply, signal);
  }

  close(): void {
    for (const { kept } of this.agents.values()) kept.destroy();
  }

  private answerOf({ status, statusText, body, broken }: Reply, signal: AbortSignal): Answer {
    if (status === 403) return denied(`${status} ${statusText}`);
    if (status !== 200) return failed(`${status} ${statusText}`);
    if (broken) {
      return failed(signal.aborted ? 'no whole answer in time' : 'its answer broke off', { timeout: signal.aborted });
    }
    const allow = readAllow(body);
    if (allow === undefined) return failed('its answer is not JSON that says whether to allow');
    return allow ? ALLOWED : denied('not allowed');
  }

  /** Sends the request, and follows redirects as Go does. */
  private async follow(first: Request, body: string, signal: AbortSignal): Promise<Reply> {
    let request = first;
    for (let redirects = 0; ; redirects++) {
      const reply = await this.send(request, body, signal);
      const { location } = reply.headers;
      if (![301, 302, 303, 307, 308].includes(reply.status) || !location) return reply;
      if (redirects >= MOST_REDIRECTS - 1) throw new Error(`${MOST_REDIRECTS} redirects are too many`);
      if (!URL.canParse(location, request.url.href)) throw new Error('a redirect leads to an invalid URL');
      const url = new URL(location, request.url);
      if (!/^https?:$/.test(url.protocol)) throw new Error(`a redirect leads to ${url.protocol}`);
      request = { url, method: reply.status < 304 ? 'GET' : request.method };
    }
  }

  private send({ url, method }: Request, body: string, signal: AbortSignal): Promise<Reply> {
    const plain = url.protocol === 'http:';
    const found = plain ? proxyFor(url, this.options.env) : undefined;
    // A proxy of HTTP is sent the request itself; any other is asked for a connection, by the agent.
    const proxy = found && !isSocks(found) ? found : undefined;
    const agents = this.agents.get(url.origin) ?? this.agentsFor(url);
    const own = url.origin === this.options.url.origin;
    const options = {
      ...addressOf(proxy ?? url),
      method,
      path: proxy ? withoutUser(url) : `${url.pathname}${url.search}`,
      headers: {
        Host: url.host,
        ...userOf(url),
        ...(own && this.options.headers()),
        ...(proxy && proxyAuthorization(proxy)),
        ...(method === 'POST' && { 'Content-Length': String(Buffer.byteLength(body)) }),
      } as IncomingHttpHeaders,
    };
    return ask({
      options,
      tls: plain ? proxy?.protocol === 'https:' : true,
      agents,
      ...(method === 'POST' && { body }),
      limit: MOST_ANSWER,
      signal,
      enough: (text) => readAllow(text) !== undefined,
    });
  }

  private agentsFor(url: URL): Agents {
    const proxy = proxyFor(url, this.options.env);
    const { secureContext } = this.options;
    const one = (options: typeof KEPT | Record<string, never>) => {
      const secure = { ...options, ...(secureContext && { secureContext }) };
      if (url.protocol === 'http:' && proxy && isSocks(proxy)) return new SocksAgent(proxy, addressOf(url), options);
      if (url.protocol === 'http:') return proxy?.protocol === 'https:' ? new TlsAgent(secure) : new Agent(options);
      return proxy ? new TunnelAgent(proxy, addressOf(url), secureContext, options) : new TlsAgent(secure);
    };
    // Connections to other origins than the URL's are not kept.
    return { kept: one(url.origin === this.options.url.origin ? KEPT : {}), fresh: one({}) };
  }
}

function userOf({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { Authorization: `Basic ${Buffer.from(pair).toString('base64')}` };
}

function withoutUser(url: URL): string {
  const bare = new URL(url);
  bare.username = '';
  bare.password = '';
  bare.hash = '';
  return bare.href;
}
