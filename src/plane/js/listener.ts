import { createServer, type Server, type Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { listenError, unfit, unmapped } from '../address.js';
import type { RequestFailure } from '../failures.js';
import type {
  ConnectionId,
  DuplexInfo,
  Listening,
  ListenSpec,
  PeerAddress,
  PlanePolicy,
  TlsVersion,
} from '../plane.js';
import { Pool, type Stranger } from '../strangers.js';
import type { Arrival } from './arrival.js';
import type { PlaneContext } from './context.js';
import { type HandshakeFault, handshakeFault } from './failures.js';
import { Handshake, type HandshakeOwner } from './handshake.js';
import { hangUp } from './hang-up.js';
import { type DerpUpgrade, HeadReader } from './http-head.js';
import { type TlsContexts, tlsVersionOf } from './tls.js';
import { TokenBucket } from './token-bucket.js';
import { type Timed, Wheel } from './wheel.js';

const NOTHING = Buffer.alloc(0);
/** Length of the accept queue, as far as the system permits: new connections of a flood wait in it, too. */
const BACKLOG = 4096;

/** Takes the connections of a listener once they are recognised. */
export interface ListenerOwner {
  readonly context: PlaneContext;
  newId(): ConnectionId;
  /** The current certificates; `undefined` before any are set. */
  tls(): TlsContexts | undefined;
  /** A raw DERP upgrade with its entry among the logins. `rest` is what followed its head. */
  onDerp(arrival: Arrival, place: Stranger, upgrade: DerpUpgrade, rest: Buffer): void;
  /** Any other connection, with its first bytes unread. */
  onHttp(id: ConnectionId, stream: Socket, info: DuplexInfo): void;
}

/** One TCP listener and its connections, from their acceptance until they are recognised. */
export class TcpListener {
  private readonly server: Server;
  /** Connections whose handshake or head is incomplete. */
  private readonly arriving = new Set<Arriving>();
  private readonly newcomers: Pool;
  /** Handshakes that wait for a certificate, by connection. */
  private readonly parked: Pool;
  /** Connections between greeting and admission. */
  readonly logins: Pool;
  private acceptRate: PlanePolicy['acceptRate'] = null;
  private acceptBucket: TokenBucket | null = null;

  constructor(
    private readonly spec: ListenSpec,
    readonly id: number,
    private readonly owner: ListenerOwner,
  ) {
    // The HTTP server handles half-open connections; a DERP connection ends with its first FIN.
    const { context } = owner;
    this.server = createServer({ allowHalfOpen: true, noDelay: true });
    this.server.on(
      'connection',
      context.barrier.guard(
        'a new connection',
        (socket: Socket) => this.onConnection(socket),
        (socket) => socket.destroy(),
      ),
    );
    this.newcomers = new Pool(() => context.policy.limits.handshakes);
    this.parked = new Pool(() => context.policy.limits.parkedHandshakes);
    this.logins = new Pool(() => context.policy.limits.pendingLogins);
  }

  async listen(): Promise<Listening> {
    await listening(this.server, this.spec, () => this.owner.context.counters.add('connections_refused'));
    const address = this.server.address() as { address: string; port: number };
    return { id: this.id, address: address.address, port: address.port };
  }

  async close(): Promise<void> {
    for (const arriving of this.arriving) this.owner.context.barrier.run('a shutdown', () => arriving.end());
    await new Promise<void>((resolve) => {
      this.server.close(() => resolve());
    });
  }

  private onConnection(socket: Socket): void {
    const { context } = this.owner;
    const { tcp } = context.policy;
    // Without an error listener, a socket error would end the process.
    socket.on('error', () => socket.destroy());
    const isTls = this.spec.kind === 'tls';
    const peer = peerAddress(socket);
    if (isTls && !this.withinRate()) {
      context.failures.failed('tls_rejects', peer);
      socket.destroy();
      return;
    }
    if (!context.room.take(socket, context.policy.limits.connections)) {
      context.failures.refused('connections_refused', peer);
      socket.destroy();
      return;
    }
    if (isTls && !this.owner.tls()) {
      context.counters.add('connections_refused');
      context.failures.failed('handshakes_failed:no_certificate', peer);
      socket.destroy();
      return;
    }
    const pools = { arriving: this.newcomers, parked: this.parked };
    const arriving = new Arriving({ socket, peer, isTls }, this.owner, pools, (place, result) => {
      this.arriving.delete(arriving);
      if (result) this.onArrival(peer, place, result);
      else place.leave();
    });
    if (!arriving.enter()) {
      socket.destroy();
      return;
    }
    // Node sets only the idle time; interval and count stay the system's.
    if (tcp.keepAlive > 0) socket.setKeepAlive(true, tcp.keepAlive);
    this.arriving.add(arriving);
    arriving.start(this.spec.derp);
  }

  /** Over the rate, a connection is closed at once: its client then tries again later. */
  private withinRate(): boolean {
    const { policy, counters } = this.owner.context;
    const { acceptRate } = policy;
    const now = Wheel.now();
    if (acceptRate !== this.acceptRate) {
      this.acceptRate = acceptRate;
      this.acceptBucket = acceptRate && new TokenBucket(acceptRate.perSecond, acceptRate.burst, now);
    }
    const within = this.acceptBucket?.take(1, now) ?? true;
    if (within) counters.add('tls_accepts');
    return within;
  }

  private onArrival(peer: PeerAddress, place: Stranger, { id, stream, head, rest, tlsVersion }: Arrived): void {
    if (head === 'http') {
      place.leave();
      stream.unshift(rest);
      this.owner.onHttp(id, stream, { listener: this.id, peer, tlsVersion });
    } else if (place.advance(this.logins, () => hangUp(stream), Wheel.now())) {
      this.owner.onDerp({ id, stream, peer, tlsVersion, notIdeal: head.notIdeal }, place, head, rest);
    } else {
      hangUp(stream);
    }
  }
}

/** A connection that was just accepted. */
interface Accepted {
  readonly socket: Socket;
  readonly peer: PeerAddress;
  readonly isTls: boolean;
}

interface Arrived {
  readonly id: ConnectionId;
  readonly stream: Socket;
  readonly head: DerpUpgrade | 'http';
  /** For DERP, what follows the head; for HTTP, all bytes. */
  readonly rest: Buffer;
  readonly tlsVersion: TlsVersion | null;
}

/** A new connection that is not recognised yet: a handshake, then a request head, each with its deadline. */
class Arriving implements Timed, HandshakeOwner {
  readonly id: ConnectionId;
  readonly context: PlaneContext;
  private stream: Socket;
  private handshake: Handshake | undefined;
  private deadline = Number.POSITIVE_INFINITY;
  /** Cleared at the end, because the wheel or a listener of the socket may keep this object for longer. */
  private place: Stranger | undefined;
  private derp = false;
  private isSecure = false;
  private received: Buffer = NOTHING;
  private done = false;
  /** It has failed, and that is counted. */
  private hasFailed = false;
  private readonly socket: Socket;
  /** What the handshake has come to before OpenSSL went on with it. */
  private hello = { serverName: '', isOther: false };

  constructor(
    private readonly accepted: Accepted,
    private readonly owner: ListenerOwner,
    private readonly pools: Readonly<Record<'arriving' | 'parked', Pool>>,
    private readonly settle: (place: Stranger, result: Arrived | undefined) => void,
  ) {
    this.id = owner.newId();
    this.context = owner.context;
    this.socket = accepted.socket;
    this.stream = this.socket;
  }

  /** Enters the connection in a pool. False if there is no room. */
  enter(): boolean {
    const now = Wheel.now();
    const { peer } = this.accepted;
    const place = this.context.strangers.enter(this.pools.arriving, peer, () => this.end('evicted'), now);
    if (!place) return false;
    this.place = place;
    const { handshake, head } = this.context.policy.deadlines;
    this.deadline = now + place.patience(this.accepted.isTls ? handshake : head);
    return true;
  }

  /** With `derp` false, every request goes to the HTTP server. */
  start(derp: boolean): void {
    const { socket } = this;
    this.derp = derp;
    this.context.wheel.arm(this, this.deadline);
    this.listen(socket, 'close', () => this.over('hung_up'));
    if (!this.accepted.isTls) {
      this.readHead(null);
      return;
    }
    // A half-open connection would stay until its deadline.
    socket.once('end', this.onEnd);
    this.handshake = new Handshake(socket, this);
  }

  moveTo(pool: 'arriving' | 'parked', whole: number): number | undefined {
    if (!this.place?.advance(this.pools[pool], () => this.end('evicted'), Wheel.now())) {
      // That there was no place is counted.
      this.hasFailed = true;
      return undefined;
    }
    return this.place.patience(whole);
  }

  tls(): TlsContexts {
    return this.owner.tls() as TlsContexts;
  }

  onDeadline(when: number): void {
    this.deadline = when;
    this.context.wheel.arm(this, when);
  }

  onFault(fault: HandshakeFault): void {
    this.fails('hung_up', fault);
  }

  onAccepted(secure: TLSSocket): void {
    this.socket.off('end', this.onEnd);
    this.keepHello();
    this.handshake = undefined;
    this.stream = secure;
    secure.on('error', this.onEnd);
    this.listen(secure, 'close', () => this.over('hung_up'));
    secure.once('end', this.onEnd);
    this.listen(secure, 'secure', () => {
      secure.off('end', this.onEnd);
      this.isSecure = true;
      const { head } = this.context.policy.deadlines;
      this.onDeadline(Wheel.now() + (this.place?.patience(head) ?? head));
      this.readHead(tlsVersionOf(secure));
    });
  }

  /** Ends it. Without a reason it is the relay that ends. */
  end(why?: RequestFailure, fault?: HandshakeFault): void {
    if (why) this.fails(why, fault);
    if (this.isSecure) hangUp(this.stream);
    else this.stream.destroy();
    this.finish(undefined);
  }

  /** Its socket is closed. */
  private over(why: RequestFailure): void {
    this.fails(why);
    this.finish(undefined);
  }

  /** Counts it, once. */
  private fails(why: RequestFailure, fault?: HandshakeFault): void {
    if (this.done || this.hasFailed) return;
    this.hasFailed = true;
    const { failures } = this.context;
    const { peer, isTls } = this.accepted;
    if (!isTls || this.isSecure) {
      failures.failed(`requests_failed:${why}`, peer);
      return;
    }
    this.keepHello();
    const { serverName, isOther } = this.hello;
    const { reason = why, alert } = fault ?? {};
    const said = isOther && reason !== 'hung_up' && reason !== 'client_alert' && fault ? 'malformed' : reason;
    // What a client of an old version has asked for the native plane does not see.
    failures.failed(`handshakes_failed:${said}`, peer, said === 'no_common_version' ? '' : serverName, alert);
  }

  /** What is known of the client outlives the part that has read it. */
  private keepHello(): void {
    if (!this.handshake) return;
    const { serverName, isOther } = this.handshake;
    this.hello = { serverName, isOther };
  }

  /** Not at once: OpenSSL may be calling, and Node crashes where the socket below it is destroyed meanwhile. */
  fail(): void {
    setImmediate(() => this.end());
  }

  onTime(now: number): number {
    if (this.done) return Number.POSITIVE_INFINITY;
    if (now < this.deadline) return this.deadline;
    this.end('timeout', this.handshake?.waits ? { reason: 'no_certificate' } : undefined);
    return Number.POSITIVE_INFINITY;
  }

  private readonly onEnd = (error?: Error): void => {
    this.context.barrier.run(
      'an end before the head',
      () => this.end('hung_up', error && handshakeFault(error)),
      () => this.fail(),
    );
  };

  private listen(from: Socket, event: string, handler: () => void): void {
    from.once(
      event,
      this.context.barrier.guard(`a new connection: ${event}`, handler, () => this.fail()),
    );
  }

  private readHead(tlsVersion: TlsVersion | null): void {
    const { stream, derp } = this;
    const reader = new HeadReader(this.context.policy.limits.headBytes);
    const onBytes = (chunk: Buffer) => {
      this.received = this.received.length === 0 ? chunk : Buffer.concat([this.received, chunk]);
      const head = reader.read(this.received);
      if (head === 'more') return;
      stream.off('data', onData);
      stream.off('end', this.onEnd);
      stream.pause();
      const upgrade = derp && typeof head === 'object' ? head : undefined;
      const rest = upgrade ? this.received.subarray(upgrade.end) : reader.forHttp(this.received, head);
      this.finish({ id: this.id, stream, head: upgrade ?? 'http', rest, tlsVersion });
    };
    const onData = this.context.barrier.guard('a request head', onBytes, () => this.fail());
    stream.on('end', this.onEnd);
    stream.on('data', onData);
  }

  private finish(result: Arrived | undefined): void {
    if (this.done) return;
    this.done = true;
    this.handshake?.leave();
    this.handshake = undefined;
    // Frees the bytes: the wheel keeps this object until its deadline.
    this.received = NOTHING;
    const { place } = this;
    this.place = undefined;
    if (place) this.settle(place, result);
  }
}

function peerAddress(socket: Socket): PeerAddress {
  return { address: unmapped(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 };
}

/** Calls `refused` for each connection that the system cannot accept. */
function listening(server: Server, spec: ListenSpec, refused: () => void): Promise<void> {
  const { host, port, fd } = spec;
  return new Promise((resolve, reject) => {
    const failed = (cause: Error) =>
      reject(listenError(spec, fd === undefined ? cause : unfit('is no TCP socket that listens', cause)));
    server.once('error', failed);
    const where = fd === undefined ? { port, ...(host !== '' && { host }) } : { fd };
    server.listen({ ...where, backlog: BACKLOG }, () => {
      server.off('error', failed);
      // Node listens on a Unix socket as well, whose address is a path, or nothing.
      if (typeof server.address() !== 'object' || server.address() === null) {
        server.close();
        failed(new Error('its address is none of IP'));
        return;
      }
      // A connection fails if the system has no descriptor or memory for it; the listener goes on.
      server.on('error', () => refused());
      resolve();
    });
  });
}
