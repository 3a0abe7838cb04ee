/** The ordinary HTTP server behind the plane: it gets every connection that is not a raw DERP upgrade. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Adoption, ConnectionId, DuplexInfo, PeerAddress } from '../plane/plane.js';
import type { Stranger } from '../plane/strangers.js';
import type { NodeKey } from '../protocol/key.js';
import { requestedFraming, switchingProtocols, wantsFastStart } from '../protocol/upgrade.js';
import type { HttpCounters, RequestFailure } from './counters.js';
import { malformed, sendError, UNSUPPORTED_CODING } from './responses.js';
import { type Face, Site, type SiteOptions } from './site.js';
import type { Visitors } from './visitors.js';
import { answerHandshake, handshakeFault } from './websocket.js';

export type { Face } from './site.js';

export interface HttpOptions extends SiteOptions {
  readonly counters: HttpCounters;
  /** The connections that are here; it bounds how many there may be. */
  readonly visitors: Visitors;
  readonly serverKey: NodeKey;
  /** Gives a connection whose upgrade was answered back to the plane. */
  readonly adopt: (id: ConnectionId, how: Adoption) => void;
  /** A request was refused for what it is. */
  readonly onFailure: (reason: RequestFailure, peer: PeerAddress) => void;
}

type RequestEvent = 'request' | 'checkContinue' | 'checkExpectation';

interface Origin extends DuplexInfo {
  readonly id: ConnectionId;
  readonly face: Face;
  readonly place: Stranger;
  /** Requests that are not answered yet. */
  unanswered: number;
  /** An upgrade or CONNECT behind them. */
  next?: () => void;
}

/** derper's read and write timeouts; the request head has the plane's shorter one. */
const REQUEST_TIMEOUT = 30_000;
const HEAD_TIMEOUT = 10_000;
/**
 * Requests of one connection that are not answered yet. Node reads on as long as answers fit its buffers, and of what it
 * has read takes every request at once: thousands of them in one chunk, of somebody who reads no answer.
 */
const PIPELINED = 32;
/** The same of all connections that have more than one: a request head has up to 16 KiB. */
const PIPELINED_IN_ALL = 8192;
/** For how long a client that was refused may go on sending: at once, the system would take the answer back with a reset. Go's. */
const LINGER = 500;

export class HttpServer {
  /** Requests of all connections that are not answered yet. */
  private unanswered = 0;
  private readonly server: Server;
  private readonly site: Site;
  private readonly origins = new WeakMap<Duplex, Origin>();
  /** Connections that have got their last answer. */
  private readonly refused = new WeakSet<Duplex>();

  constructor(private readonly options: HttpOptions) {
    this.site = new Site(options);
    this.server = createServer({
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: HEAD_TIMEOUT,
      connectionsCheckingInterval: HEAD_TIMEOUT / 2,
      requireHostHeader: false, // the site sees to it, in Go's words
    });
    this.server.keepAliveTimeout = REQUEST_TIMEOUT;
    this.server.setTimeout(REQUEST_TIMEOUT);
    this.on('request', (request, response) => this.onRequest(request, response));
    // Nobody here reads a body, so nobody asks for one; whether it comes is not known then.
    this.on('checkContinue', (request, response) => {
      response.shouldKeepAlive = false;
      this.onRequest(request, response);
    });
    // Node would answer these itself, uncounted.
    this.on('checkExpectation', (request, response) => this.onExpectation(request, response));
    this.onSwitch('upgrade', (request, socket, head) => this.onUpgrade(request, socket, head));
    this.onSwitch('connect', (request, socket) => this.onConnect(request, socket));
    this.server.on(
      'clientError',
      options.barrier.guard(
        'http: clientError',
        (error, socket) => this.refuse(error, socket),
        (_error, socket) => socket.destroy(),
      ),
    );
    // The server never listens, but it keeps track of connections, and of their deadlines, only from this event on.
    this.server.emit('listening');
  }

  /** Serves one connection of the plane's, request bytes unread. */
  accept(id: ConnectionId, stream: Duplex, face: Face, info: DuplexInfo): void {
    // It may have ended on its way here; then its close, which Node's server waits for, has been.
    if (stream.destroyed) return;
    const place = this.options.visitors.enter(stream, info);
    if (!place) {
      stream.destroy();
      return;
    }
    const origin: Origin = { ...info, id, face, place, unanswered: 0 };
    this.origins.set(stream, origin);
    // Of what is not answered by now, Node says no more.
    stream.once('close', () => this.settle(origin, origin.unanswered));
    this.server.emit('connection', stream);
    // The plane has stopped it after its first bytes.
    stream.resume();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** A handler that fails costs its connection, as in Go. */
  private on(event: RequestEvent, handler: (request: IncomingMessage, response: ServerResponse) => void): void {
    this.server.on(
      event,
      this.options.barrier.guard(`http: ${event}`, handler, ({ socket }) => socket.destroy()),
    );
  }

  /** The same of requests with which Node hands the connection over. */
  private onSwitch(
    event: 'upgrade' | 'connect',
    handler: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
  ): void {
    const { barrier } = this.options;
    const guarded = barrier.guard(`http: ${event}`, handler, (_request, socket) => socket.destroy());
    this.server.on(event, (request, socket, head) => this.inTurn(socket, () => guarded(request, socket, head)));
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const origin = this.origins.get(request.socket);
    if (!origin) throw new Error('a request of a connection that was not accepted');
    if (!this.begin(request, response, origin)) return;
    // HTTP/1.1 keeps connections without a word; Node would say so with every answer.
    if (request.httpVersion === '1.1' && response.shouldKeepAlive) response.removeHeader('Connection');
    const isHandshake = isSound(request) && wantsWebSocket(request) && this.isDerp(request, origin);
    const fault = isHandshake && handshakeFault(request);
    if (fault) {
      // Node keeps a connection whose answer says `Connection: Upgrade`, even if its client asked for its end.
      if (!response.shouldKeepAlive) response.once('finish', () => request.socket.end());
      sendError(response, fault.status, fault.text, fault.headers);
    } else this.site.answer(request, response, origin.face, origin.peer.address);
  }

  /** Counts a request until it is answered. False if there are too many. */
  private begin({ socket }: IncomingMessage, response: ServerResponse, origin: Origin): boolean {
    if (socket.destroyed) return false;
    const isFull = origin.unanswered > 0 && this.unanswered >= PIPELINED_IN_ALL;
    if (isFull || origin.unanswered >= PIPELINED) {
      this.fails('too_many', origin);
      socket.destroy();
      return false;
    }
    origin.unanswered += 1;
    this.unanswered += 1;
    origin.place.touch(performance.now());
    const { tlsVersion } = origin;
    if (tlsVersion) {
      this.options.counters.tlsRequests[tlsVersion] += 1;
      this.options.counters.tlsActive[tlsVersion] += 1;
    }
    const closed = () => {
      const failure = FAILURES[response.statusCode];
      if (failure) this.fails(failure, origin);
      this.settle(origin, Math.min(1, origin.unanswered));
      this.rests(origin, socket);
      if (origin.unanswered > 0 || !origin.next) return;
      const { next } = origin;
      delete origin.next;
      // It may have been told that it was its last request.
      if (socket.writable) next();
    };
    response.once(
      'close',
      this.options.barrier.guard('http: the end of an answer', closed, () => socket.destroy()),
    );
    return true;
  }

  /** It was answered, and has made no new request yet. Node has just set how long it waits for one. */
  private rests({ place, unanswered }: Origin, socket: IncomingMessage['socket']): void {
    place.touch(performance.now());
    const patience = place.patience(REQUEST_TIMEOUT);
    if (unanswered === 0 && patience < REQUEST_TIMEOUT && !socket.destroyed) socket.setTimeout(patience);
  }

  private fails(reason: RequestFailure, origin: Origin | undefined): void {
    this.options.counters.failures[reason] += 1;
    this.options.onFailure(reason, origin?.peer ?? { address: '', port: 0 });
  }

  /** Of what Node's parser does not take. A connection that is gone, or in the middle of an answer, only ends. */
  private refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.refused.has(socket)) return;
    const answering = (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage?.headersSent;
    if (!socket.writable || answering) {
      socket.destroy();
      return;
    }
    const status = STATUSES[error.code ?? ''] ?? '400 Bad Request';
    const text = status.startsWith('501') ? UNSUPPORTED_CODING : status;
    this.fails(FAILURES[Number.parseInt(status, 10)] ?? 'bad_request', this.origins.get(socket));
    this.refused.add(socket);
    socket.end(malformed(status, text));
    const late = setTimeout(() => socket.destroy(), LINGER).unref();
    socket.once('close', () => clearTimeout(late));
    socket.once('end', () => socket.destroy());
  }

  private settle(origin: Origin, requests: number): void {
    origin.unanswered -= requests;
    this.unanswered -= requests;
    if (origin.tlsVersion) this.options.counters.tlsActive[origin.tlsVersion] -= requests;
  }

  /** Node hands a connection over as soon as it has read an upgrade; as with Go, what was asked before is answered before. */
  private inTurn(socket: Duplex, next: () => void): void {
    const origin = this.origins.get(socket);
    if (!origin || origin.unanswered === 0) {
      next();
      return;
    }
    // Node looks after it no more: nothing may flow into the void, and who reads no answer is not waited for for ever.
    const flowsNot = () => {};
    socket.on('readable', flowsNot);
    const late = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT).unref();
    socket.once('close', () => clearTimeout(late));
    origin.next = () => {
      clearTimeout(late);
      socket.off('readable', flowsNot);
      // If there were many answers, it has been stopped below its stream, which thinks that it reads.
      socket.push('');
      next();
    };
  }

  /** Of anything but 100-continue. */
  private onExpectation(request: IncomingMessage, response: ServerResponse): void {
    const origin = this.origins.get(request.socket);
    if (!origin || !this.begin(request, response, origin)) return;
    response.shouldKeepAlive = false;
    response.writeHead(417, { Connection: 'close', 'Content-Length': 0 }).end();
  }

  private isDerp(request: IncomingMessage, { face }: Origin): boolean {
    return face === 'main' && this.options.derp && Site.isDerp(request.url ?? '');
  }

  private onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const origin = this.origins.get(socket);
    const ours = origin !== undefined && this.isDerp(request, origin) && isSound(request);
    const framing = requestedFraming(request.headers.upgrade, request.headers['sec-websocket-protocol']);
    if (!ours || !framing) {
      this.refuseUpgrade(request, socket);
    } else if (framing === 'websocket') {
      this.switchToWebSocket(origin, request, socket, head);
    } else {
      if (origin.tlsVersion) this.options.counters.tlsRequests[origin.tlsVersion] += 1;
      this.switchToDerp(origin, request, socket, head);
    }
  }

  /** A raw DERP upgrade that was not its connection's first request; the first one never gets here. */
  private switchToDerp({ id, place }: Origin, { headers }: IncomingMessage, socket: Duplex, leftover: Buffer): void {
    if (!wantsFastStart(headers['derp-fast-start'] as string | undefined)) {
      socket.write(switchingProtocols(this.options.serverKey));
    }
    const notIdeal = (headers['ideal-node'] ?? '') !== '';
    place.leave();
    this.options.adopt(id, { framing: 'raw', leftover, notIdeal });
  }

  /** derper pays no heed to `Ideal-Node` here. */
  private switchToWebSocket(origin: Origin, request: IncomingMessage, socket: Duplex, leftover: Buffer): void {
    // Whatever is wrong with it is answered as it is without an upgrade.
    if (handshakeFault(request)) {
      this.refuseUpgrade(request, socket);
      return;
    }
    if (origin.tlsVersion) this.options.counters.tlsRequests[origin.tlsVersion] += 1;
    if (!answerHandshake(request, socket)) return;
    this.options.counters.webSocketAccepts += 1;
    origin.place.leave();
    this.options.adopt(origin.id, { framing: 'websocket', leftover, notIdeal: false });
  }

  /** An upgrade to something else (h2c, say) is only an offer: the request is answered as if it had not been made. */
  private refuseUpgrade(request: IncomingMessage, socket: Duplex): void {
    answerOnce(request, socket, (response) => this.server.emit('request', request, response));
  }

  /** This is no proxy, though derper can be one, for Tailscale's control servers. */
  private onConnect(request: IncomingMessage, socket: Duplex): void {
    answerOnce(request, socket, (response) => {
      if (this.origins.get(socket)?.tlsVersion) sendError(response, 403, 'CONNECT not enabled');
      else this.server.emit('request', request, response);
    });
  }
}

/** What Node's parser complains of that has a status of its own. */
const STATUSES: Readonly<Record<string, string>> = {
  HPE_INVALID_TRANSFER_ENCODING: '501 Not Implemented',
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
};

/** Answers that say that a request is none. */
const FAILURES: Readonly<Record<number, RequestFailure>> = {
  400: 'bad_request',
  408: 'timeout',
  431: 'too_large',
  501: 'bad_coding',
};

function isSound(request: IncomingMessage): boolean {
  return Site.hasHost(request) && !Site.bodyFault(request);
}

function wantsWebSocket({ headers }: IncomingMessage): boolean {
  return requestedFraming(headers.upgrade, headers['sec-websocket-protocol']) === 'websocket';
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
