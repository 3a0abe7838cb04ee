/** Connections to a server through a proxy. */
import { Agent, type AgentOptions, request } from 'node:http';
import { request as requestTls, Agent as TlsAgent } from 'node:https';
import type { Duplex } from 'node:stream';
import { connect, type SecureContext } from 'node:tls';
import { dialSocks, isSocks, type Target } from './socks.js';

/** Milliseconds that a proxy has for its answer. The question itself has its own deadline. */
const PATIENCE = 10_000;

type Connected = (error: Error | null, socket?: Duplex) => void;

/** Opens a tunnel through the proxy, and speaks TLS to the server at its end. */
export class TunnelAgent extends TlsAgent {
  constructor(
    private readonly proxy: URL,
    private readonly target: Target,
    private readonly secureContext: SecureContext | undefined,
    options: AgentOptions,
  ) {
    super(options);
  }

  // Node calls this with a callback and takes the socket from it; Node's types omit that form.
  override createConnection(_options: unknown, connected: Connected): undefined {
    const { proxy, target, secureContext } = this;
    const dialled = isSocks(proxy) ? dialSocks(proxy, target) : dialTunnel(proxy, target, secureContext);
    dialled.then((socket) => connected(null, this.secure(socket)), connected);
    return undefined;
  }

  private secure(socket: Duplex): Duplex {
    const { host } = this.target;
    const { secureContext } = this;
    return connect({
      socket,
      host,
      ...(/[^\d.:]/.test(host) && !host.includes(':') && { servername: host }),
      ...(secureContext && { secureContext }),
      ALPNProtocols: ['http/1.1'],
    });
  }
}

/** Asks a proxy that speaks SOCKS for connections to a server that speaks plain HTTP. */
export class SocksAgent extends Agent {
  constructor(
    private readonly proxy: URL,
    private readonly target: Target,
    options: AgentOptions,
  ) {
    super(options);
  }

  override createConnection(_options: unknown, connected: Connected): undefined {
    dialSocks(this.proxy, this.target).then((socket) => connected(null, socket), connected);
    return undefined;
  }
}

/** Asks a proxy that speaks HTTP for a connection to the target. A proxy over TLS must be trusted as the target is. */
export function dialTunnel(
  proxy: URL,
  { host, port }: Target,
  secureContext: SecureContext | undefined,
  patience = PATIENCE,
): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    const asked = (proxy.protocol === 'https:' ? requestTls : request)({
      ...addressOf(proxy),
      ...(secureContext && { secureContext }),
      method: 'CONNECT',
      path: authority,
      headers: { Host: authority, ...proxyAuthorization(proxy) },
      agent: false,
      timeout: patience,
    });
    asked.on('timeout', () => asked.destroy(new Error('the proxy does not answer')));
    asked.on('error', reject);
    asked.on('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy();
        reject(new Error(`the proxy answers ${response.statusCode} ${response.statusMessage}`));
        return;
      }
      socket.unshift(head);
      socket.setTimeout(0);
      resolve(socket);
    });
    asked.end();
  });
}

/** Where a server listens. */
export function addressOf(url: URL): Target {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  return { host, port: Number(url.port) || (url.protocol === 'https:' ? 443 : 80) };
}

export function proxyAuthorization({ username, password }: URL): Record<string, string> {
  if (username === '' && password === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'Proxy-Authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}
