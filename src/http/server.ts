/** The ordinary HTTP server behind the plane: it serves every connection that is not a raw DERP upgrade. */
import { createServer, type IncomingMessage, type Server, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Barrier } from '../faults/barrier.js';
import type { Adoption, ConnectionId, DuplexInfo, PeerAddress } from '../plane/plane.js';
import type { Stranger } from '../plane/strangers.js';
import type { NodeKey } from '../protocol/key.js';
import { requestedFraming, switchingProtocols, wantsFastStart } from '../protocol/upgrade.js';
import type { HttpCounters, RequestFailure } from './counters.js';
import { hasRefusedQuery, malformed, sendError, UNSUPPORTED_CODING } from './responses.js';
import { type Face, Site } from './site.js';
import type { Visitors } from './visitors.js';
import { answerHandshake, handshakeFault } from './websocket.js';

export type { Face } from './site.js';

export interface HttpOptions {
  readonly barrier: Barrier;
  /** Whether the server takes upgrades to DERP. */
  readonly derp: boolean;
  readonly counters: HttpCounters;
  /** Bounds the connections of this server. */
  readonly visitors: Visitors;
  readonly serverKey: NodeKey;
  /** Returns a connection to the plane, after the answer to its upgrade. */
  readonly adopt: (id: ConnectionId, how: Adoption) => void;
  /** The most requests of all connections with more than one that are not answered. Tests have less. */
  readonly pipelined?: number;
  /** A request was refused for what it is. */
  readonly onFailure: (reason: RequestFailure, peer: PeerAddress) => void;
}

type RequestEvent = 'request' | 'checkContinue' | 'checkExpectation';

interface Origin extends DuplexInfo {
  readonly id: ConnectionId;
  readonly face: Face;
  readonly place: Stranger;
  /** Answers that are not done. Node gives the connection to one after the other. */
  readonly unanswered: Set<ServerResponse>;
  /** Handles an upgrade or CONNECT that waits for these answers. */
  next?: () => void;
}

/** derper's read and write timeouts. For the request head, the plane has a shorter one. */
const REQUEST_TIMEOUT = 30_000;
const HEAD_TIMEOUT = 10_000;
/**
 * Most unanswered requests of one connection. Node handles every request of a chunk at once, so a client that reads no
 * answers could otherwise cause thousands of them with one chunk.
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
  private readonly origins = new WeakMap<Duplex, Origin>();
  /** Connections that have got their last answer. */
  private readonly refused = new WeakSet<Duplex>();

  /** `site` answers the requests. */
  constructor(
    private readonly options: HttpOptions,
    private readonly site: Pick<Site, 'answer'>,
  ) {
    this.server = createServer({
      requestTimeout: REQUEST_TIMEOUT,
      headersTimeout: HEAD_TIMEOUT,
      connectionsCheckingInterval: HEAD_TIMEOUT / 2,
      requireHostHeader: false, // the site checks it, with Go's texts
    });
    this.server.keepAliveTimeout = REQUEST_TIMEOUT;
    this.server.setTimeout(REQUEST_TIMEOUT);
    this.on('request', (request, response) => this.onRequest(request, response));
    // No page reads a body, so no client is asked to continue. Since its body may come or not, the connection ends.
    this.on('checkContinue', (request, response) => {
      response.shouldKeepAlive = false;
      this.onRequest(request, response);
    });
    // Node would answer these itself, and the counters would miss them.
    this.on('checkExpectation', (request, response) => this.onExpectation(request, response));
    this.onSwitch('upgrade', (request, socket, head) => this.onUpgrade(request, socket, head));
    this.onSwitch('connect', (request) => this.onConnect(request));
    this.server.on(
      'clientError',
      options.barrier.guard(
        'http: clientError',
        (error, socket) => this.refuse(error, socket),
        (_error, socket) => socket.destroy(),
      ),
    );
    // The server never listens, but Node checks connections and their deadlines only after this event.
    this.server.emit('listening');
  }

  /** Serves one connection of the plane; its request bytes are unread. */
  accept(id: ConnectionId, stream: Duplex, face: Face, info: DuplexInfo): void {
    // The stream may have been destroyed on the way here. Its `close`, which Node's server waits for, is over then.
    if (stream.destroyed) return;
    const place = this.options.visitors.enter(stream, info);
    if (!place) {
      stream.destroy();
      return;
    }
    const origin: Origin = { ...info, id, face, place, unanswered: new Set() };
    this.origins.set(stream, origin);
    const gone = () => closeAll(origin.unanswered);
    stream.once(
      'close',
      this.options.barrier.guard('http: the end of a connection', gone, () => {}),
    );
    this.server.emit('connection', stream);
    // The plane paused it after its first bytes.
    stream.resume();
  }

  close(): void {
    this.server.closeAllConnections();
    this.server.close();
  }

  /** Node handles no connection but those that were accepted. */
  private originOf(socket: Duplex): Origin {
    return this.origins.get(socket) as Origin;
  }

  /** Adds a handler. As in Go, an exception in it costs its connection. */
  private on(event: RequestEvent, handler: (request: IncomingMessage, response: ServerResponse) => void): void {
    this.server.on(
      event,
      this.options.barrier.guard(`http: ${event}`, handler, ({ socket }) => socket.destroy()),
    );
  }

  /** Adds a handler for the requests with which Node gives up the connection. */
  private onSwitch(
    event: 'upgrade' | 'connect',
    handler: (request: IncomingMessage, socket: Duplex, head: Buffer) => void,
  ): void {
    const guarded = (act: typeof handler) =>
      this.options.barrier.guard(`http: ${event}`, act, ({ socket }: IncomingMessage) => socket.destroy());
    const handle = guarded(handler);
    this.server.on(
      event,
      guarded((request, socket, head) => this.inTurn(request, () => handle(request, socket, head))),
    );
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const origin = this.originOf(request.socket);
    if (!this.begin(request, response, origin)) return;
    // HTTP/1.1 keeps connections by default; Node would say so with every answer, and Go does not.
    if (request.httpVersion === '1.1' && response.shouldKeepAlive) response.removeHeader('Connection');
    const isHandshake = isSound(request) && wantsWebSocket(request) && this.isDerp(request, origin);
    const fault = isHandshake && handshakeFault(request);
    if (fault) {
      // Node keeps a connection whose answer says `Connection: Upgrade`, even if its client asked for its end.
      if (!response.shouldKeepAlive) response.once('finish', () => request.socket.end());
      sendError(response, fault.status, fault.text, fault.headers);
    } else this.site.answer(request, response, origin.face, origin.peer.address);
  }

  /** Counts a request until its answer is done. False if too many are unanswered. */
  private begin({ socket }: IncomingMessage, response: ServerResponse, origin: Origin): boolean {
    if (socket.destroyed) return false;
    const { pipelined = PIPELINED_IN_ALL } = this.options;
    const { size } = origin.unanswered;
    if ((size > 0 && this.unanswered >= pipelined) || size >= PIPELINED) {
      this.fails('too_many', origin);
      socket.destroy();
      return false;
    }
    origin.unanswered.add(response);
    this.unanswered += 1;
    origin.place.touch(performance.now());
    const { tlsVersion } = origin;
    if (tlsVersion) {
      this.options.counters.tlsRequests[tlsVersion] += 1;
      this.options.counters.tlsActive[tlsVersion] += 1;
    }
    const closed = () => {
      const failure = FAILURES[response.statusCode];
      if (failure && !hasRefusedQuery(response)) this.fails(failure, origin);
      this.settle(origin, response);
      this.rests(origin, socket);
      if (origin.unanswered.size > 0 || !origin.next) return;
      const { next } = origin;
      delete origin.next;
      // The answer before may have ended the connection.
      if (socket.writable) next();
    };
    response.once(
      'close',
      this.options.barrier.guard('http: the end of an answer', closed, () => socket.destroy()),
    );
    return true;
  }

  /** The connection is idle. Node has just set its idle timeout; a crowded pool shortens it. */
  private rests({ place, unanswered }: Origin, socket: IncomingMessage['socket']): void {
    place.touch(performance.now());
    const patience = place.patience(REQUEST_TIMEOUT);
    if (unanswered.size === 0 && patience < REQUEST_TIMEOUT) socket.setTimeout(patience);
  }

  private fails(reason: RequestFailure, { peer }: Origin): void {
    this.options.counters.failures[reason] += 1;
    this.options.onFailure(reason, peer);
  }

  /** Of what Node's parser does not take. A connection that is gone, or in the middle of an answer, only ends. */
  private refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.refused.has(socket)) return;
    // As in Go, what follows the last request of a connection is not read. Its answer ends the connection.
    if (error.code === 'HPE_CLOSED_CONNECTION' && !socket.writableFinished) {
      socket.pause();
      return;
    }
    const answering = (socket as { _httpMessage?: { headersSent: boolean } | null })._httpMessage?.headersSent;
    if (!socket.writable || answering) {
      socket.destroy();
      return;
    }
    const status = STATUSES[String(error.code)] ?? '400 Bad Request';
    const text = status.startsWith('501') ? UNSUPPORTED_CODING : status;
    this.fails(FAILURES[Number.parseInt(status, 10)] as RequestFailure, this.originOf(socket));
    this.refused.add(socket);
    socket.end(malformed(status, text));
    const late = setTimeout(() => socket.destroy(), LINGER).unref();
    socket.once('close', () => clearTimeout(late));
    socket.once('end', () => socket.destroy());
  }

  private settle({ unanswered, tlsVersion }: Origin, response: ServerResponse): void {
    unanswered.delete(response);
    this.unanswered -= 1;
    if (tlsVersion) this.options.counters.tlsActive[tlsVersion] -= 1;
  }

  /**
   * Runs `next` behind the answers to earlier requests, as Go does. Node gives up a connection as soon as it has read
   * an upgrade.
   */
  private inTurn({ socket }: IncomingMessage, next: () => void): void {
    const origin = this.originOf(socket);
    if (origin.unanswered.size === 0) {
      next();
      return;
    }
    // Node no longer handles this connection: the listener keeps its bytes in the buffer, and the timer ends it if the
    // client reads no answers.
    const flowsNot = () => {};
    socket.on('readable', flowsNot);
    const late = setTimeout(() => socket.destroy(), REQUEST_TIMEOUT).unref();
    socket.once('close', () => clearTimeout(late));
    origin.next = () => {
      clearTimeout(late);
      socket.off('readable', flowsNot);
      // After many answers, Node has paused the handle below the stream, and the stream does not know: this restarts
      // it.
      socket.push('');
      next();
    };
  }

  /** Answers a request that expects anything but 100-continue. */
  private onExpectation(request: IncomingMessage, response: ServerResponse): void {
    if (!this.begin(request, response, this.originOf(request.socket))) return;
    response.shouldKeepAlive = false;
    response.writeHead(417, { 'Content-Length': 0 }).end();
  }

  private isDerp(request: IncomingMessage, { face }: Origin): boolean {
    return face === 'main' && this.options.derp && Site.isDerp(request.url as string);
  }

  private onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const origin = this.originOf(request.socket);
    // From version 26 on, Node has another stream in the connection's place while the body of the request is incomplete.
    // The plane can take only the connection.
    const ours = socket === request.socket && this.isDerp(request, origin) && isSound(request);
    const framing = requestedFraming(request.headers.upgrade, request.headers['sec-websocket-protocol']);
    if (!ours || !framing) {
      this.refuseUpgrade(request);
    } else if (framing === 'websocket') {
      this.switchToWebSocket(origin, request, socket, head);
    } else {
      if (origin.tlsVersion) this.options.counters.tlsRequests[origin.tlsVersion] += 1;
      this.switchToDerp(origin, request, socket, head);
    }
  }

  /**
   * Switches to raw DERP. Only upgrades behind an earlier request on the connection get here; the plane recognises the
   * others.
   */
  private switchToDerp({ id, place }: Origin, { headers }: IncomingMessage, socket: Duplex, leftover: Buffer): void {
    if (!wantsFastStart(headers['derp-fast-start'] as string | undefined)) {
      socket.write(switchingProtocols(this.options.serverKey));
    }
    const notIdeal = (headers['ideal-node'] ?? '') !== '';
    place.leave();
    this.options.adopt(id, { framing: 'raw', leftover, notIdeal });
  }

  /** Switches to WebSocket. As in derper, `Ideal-Node` does not count here. */
  private switchToWebSocket(origin: Origin, request: IncomingMessage, socket: Duplex, leftover: Buffer): void {
    // A faulty handshake gets the answer of an ordinary request.
    if (handshakeFault(request)) {
      this.refuseUpgrade(request);
      return;
    }
    if (origin.tlsVersion) this.options.counters.tlsRequests[origin.tlsVersion] += 1;
    if (!answerHandshake(request, socket)) return;
    this.options.counters.webSocketAccepts += 1;
    origin.place.leave();
    this.options.adopt(origin.id, { framing: 'websocket', leftover, notIdeal: false });
  }

  /**
   * Answers the request as if it asked for no upgrade: an upgrade to another protocol (such as h2c) is only an offer.
   */
  private refuseUpgrade(request: IncomingMessage): void {
    answerOnce(request, (response) => this.server.emit('request', request, response));
  }

  /** Refuses CONNECT. derper can act as a proxy for Tailscale's control servers; this relay cannot. */
  private onConnect(request: IncomingMessage): void {
    answerOnce(request, (response) => {
      if (this.originOf(request.socket).tlsVersion) sendError(response, 403, 'CONNECT not enabled');
      else this.server.emit('request', request, response);
    });
  }
}

/** Errors of Node's parser that have a status of their own. */
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

/**
 * Closes the answers of a connection that is gone. Up to version 25, Node closes the one that has the connection alone, and
 * forgets those behind it; a page that goes on until its client leaves would never end.
 */
function closeAll(responses: Iterable<ServerResponse>): void {
  for (const response of responses) {
    response.destroy();
    response.emit('close');
    // What Node closes, too, has been closed already.
    response.removeAllListeners('close');
  }
}

/** Answers one request on a connection that Node gave up, and ends the connection. */
function answerOnce(request: IncomingMessage, answer: (response: ServerResponse) => void): void {
  const { socket } = request;
  const response = new ServerResponse(request);
  response.shouldKeepAlive = false;
  response.assignSocket(socket);
  // Does not wait for the client's end of the connection.
  response.on('finish', () => socket.end(() => socket.destroy()));
  answer(response);
}
