/** Connections to an HTTPS server through a proxy that speaks HTTP. */
import { request } from 'node:http';
import { Agent, type AgentOptions, request as requestTls } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type SecureContext } from 'node:tls';

/** How long a proxy may take for its answer. The question that waits for it has a deadline of its own. */
const PATIENCE = 10_000;

type Connected = (error: Error | null, socket?: Duplex) => void;

/** Asks the proxy for a tunnel, and speaks TLS with what is at its end. */
export class TunnelAgent extends Agent {
  constructor(
    private readonly proxy: URL,
    private readonly target: { readonly host: string; readonly port: number },
    private readonly secureContext: SecureContext | undefined,
    options: AgentOptions,
  ) {
    super(options);
  }

  // Node calls it with a callback, and takes the socket from there; its types know only the other way.
  override createConnection(_options: unknown, connected: Connected): undefined {
    const { host, port } = this.target;
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const asked = (this.proxy.protocol === 'https:' ? requestTls : request)({
      ...addressOf(this.proxy),
      method: 'CONNECT',
      path: authority,
      headers: { Host: authority, ...proxyAuthorization(this.proxy) },
      agent: false,
      timeout: PATIENCE,
    });
    asked.on('timeout', () => asked.destroy(new Error('the proxy does not answer')));
    asked.on('error', (error) => connected(error));
    asked.on('response', (response) => {
      asked.destroy();
      connected(new Error(`the proxy answers ${response.statusCode} ${response.statusMessage}`));
    });
    asked.on('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        connected(new Error(`the proxy answers ${response.statusCode} ${response.statusMessage}`));
        return;
      }
      if (head.length > 0) socket.unshift(head);
      socket.setTimeout(0);
      const { secureContext } = this;
      const secure = connect({
        socket,
        host,
        ...(/[^\d.:]/.test(host) && !host.includes(':') && { servername: host }),
        ...(secureContext && { secureContext }),
        ALPNProtocols: ['http/1.1'],
      });
      connected(null, secure);
    });
    asked.end();
    return undefined;
  }
}

/** Where a proxy listens. */
export function addressOf(url: URL): { readonly host: string; readonly port: number } {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { host, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) };
}

export function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
