/** The ordinary HTTP server behind the plane: it gets every connection that is not a raw DERP upgrade. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Adoption, ConnectionId } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';
import { DERP_PATH, pathOfTarget, requestedFraming, switchingProtocols, wantsFastStart } from '../protocol/upgrade.js';
import { generate204, home, probe, robots } from './pages.js';
import { sendError, sendRedirect } from './responses.js';

export interface HttpOptions {
  readonly serverKey: NodeKey;
  /** See {@link home}. */
  readonly home: string;
  /** False answers every `/derp` with 404. */
  readonly derp: boolean;
  /** Where the plain HTTP face sends browsers; 443 goes without saying. */
  readonly httpsPort: () => number;
  /** Gives a connection whose upgrade was answered back to the plane. */
  readonly adopt: (id: ConnectionId, how: Adoption) => void;
}

/** `main` is the relay itself; `redirect` is what stands on port 80 beside a TLS one. */
export type Face = 'main' | 'redirect';

interface Origin {
  readonly id: ConnectionId;
  readonly face: Face;
}

/** derper's read and write timeouts; the request head has the plane's shorter one. */
const REQUEST_TIMEOUT = 30_000;
const HEAD_TIMEOUT = 10_000;

export class HttpServer {
  private readonly server: Server;
  private readonly origins = new WeakMap<Duplex, Origin>();

  constructor(private readonly options: HttpOptions) {
    this.server = createServer({
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: HEAD_TIMEOUT,
      connectionsCheckingInterval: HEAD_TIMEOUT / 2,
    });
    this.server.keepAliveTimeout = REQUEST_TIMEOUT;
    this.server.setTimeout(REQUEST_TIMEOUT);
    this.server.on('request', (request, response) => this.onRequest(request, response));
    this.server.on('upgrade', (request, socket, head) => this.onUpgrade(request, socket, head));
    // The server never listens, but it keeps track of connections, and of their deadlines, only from this event on.
    this.server.emit('listening');
  }

  /** Serves one connection of the plane's, request bytes unread. */
  accept(id: ConnectionId, stream: Duplex, face: Face): void {
    // It may have ended on its way here; then its close, which Node's server waits for, has been.
    if (stream.destroyed) return;
    this.origins.set(stream, { id, face });
    this.server.emit('connection', stream);
    // The plane has stopped it after its first bytes.
    stream.resume();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const origin = this.origins.get(request.socket);
    if (origin?.face === 'redirect') this.redirectFace(request, response);
    else this.mainFace(request, response);
  }

  private mainFace(request: IncomingMessage, response: ServerResponse): void {
    switch (pathOfTarget(request.url ?? '')) {
      case DERP_PATH:
        this.derpWithoutUpgrade(response);
        break;
      case '/derp/probe':
      case '/derp/latency-check':
        probe(request, response);
        break;
      case '/generate_204':
        generate204(request, response);
        break;
      case '/robots.txt':
        robots(response);
        break;
      default:
        home(response, this.options.home, this.options.derp);
    }
  }

  private derpWithoutUpgrade(response: ServerResponse): void {
    if (this.options.derp) sendError(response, 426, 'DERP requires connection upgrade');
    else sendError(response, 404, 'derp server disabled');
  }

  private redirectFace(request: IncomingMessage, response: ServerResponse): void {
    if (pathOfTarget(request.url ?? '') === '/generate_204') {
      generate204(request, response);
    } else if (request.method !== 'GET' && request.method !== 'HEAD') {
      sendError(response, 400, 'Use HTTPS');
    } else {
      const port = this.options.httpsPort();
      const host = (request.headers.host ?? '').replace(/:\d+$/, '');
      const target = request.url?.startsWith('/') ? request.url : pathOfTarget(request.url ?? '');
      sendRedirect(response, 302, `https://${host}${port === 443 ? '' : `:${port}`}${target}`);
    }
  }

  private onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const origin = this.origins.get(socket);
    const ours = origin?.face === 'main' && this.options.derp && pathOfTarget(request.url ?? '') === DERP_PATH;
    const framing = requestedFraming(request.headers.upgrade, request.headers['sec-websocket-protocol']);
    if (!ours || !framing) {
      this.refuseUpgrade(request, socket);
    } else if (framing === 'websocket') {
      answerOnce(request, socket, (response) => sendError(response, 501, 'WebSocket is not there yet'));
    } else {
      this.switchToDerp(origin.id, request, socket, head);
    }
  }

  /** A raw DERP upgrade that was not its connection's first request; the first one never gets here. */
  private switchToDerp(id: ConnectionId, { headers }: IncomingMessage, socket: Duplex, leftover: Buffer): void {
    if (!wantsFastStart(headers['derp-fast-start'] as string | undefined)) {
      socket.write(switchingProtocols(this.options.serverKey));
    }
    const notIdeal = (headers['ideal-node'] ?? '') !== '';
    this.options.adopt(id, { framing: 'raw', leftover, notIdeal });
  }

  /** An upgrade to something else (h2c, say) is only an offer: the request is answered as if it had not been made. */
  private refuseUpgrade(request: IncomingMessage, socket: Duplex): void {
    answerOnce(request, socket, (response) => this.server.emit('request', request, response));
  }
}

/** Node takes connections with an upgrade out of its hands; this puts one request back. The connection ends with it. */
function answerOnce(request: IncomingMessage, socket: Duplex, answer: (response: ServerResponse) => void): void {
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket as IncomingMessage['socket']);
  // A client that keeps its side open has no claim to ours.
  response.on('finish', () => socket.end(() => socket.destroy()));
  answer(response);
}
