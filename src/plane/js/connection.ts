import type { Duplex } from 'node:stream';
import { FrameDecoder, type FrameSink, LoginError, type LoginFault, ProtocolError } from '../../protocol/decode.js';
import type { NodeKey } from '../../protocol/key.js';
import { type OpenedLogin, sealServerInfo } from '../../protocol/login.js';
import type { PeerGoneReason } from '../../protocol/wire.js';
import type { LoginFailure } from '../failures.js';
import type { Admission, CloseReason, ConnectionId, PlaneEvents, ReceiveRate } from '../plane.js';
import type { Stranger } from '../strangers.js';
import type { Arrival } from './arrival.js';
import type { Share } from './budget.js';
import type { Holder } from './budgets.js';
import type { Client, ForwardingContext } from './client.js';
import { CLIENT, Egress, type EgressKind, type EgressOwner, MESH_PEER } from './egress.js';
import { hangUp } from './hang-up.js';
import { Liveness } from './liveness.js';
import { LoginPhase, WaitingPhase } from './login.js';
import { Session } from './session.js';
import { Sources } from './sources.js';
import type { Entry } from './table.js';
import { TokenBucket } from './token-bucket.js';
import { WebSocketStream } from './websocket-stream.js';
import { type Timed, Wheel } from './wheel.js';

type Phase = 'login' | 'waiting' | 'open' | 'closed';

/** What a connection needs of the plane. */
export interface ConnectionContext extends ForwardingContext {
  /** DERP connections, from the greeting to their end. */
  readonly connections: Map<ConnectionId, Connection>;
  /** Ended connections whose clients still read the data queued for them. */
  readonly leaving: Set<Connection>;
}

/** Ends of a connection before its admission that say why. */
const LOGIN_ENDS: Readonly<Partial<Record<CloseReason, LoginFailure>>> = {
  disconnected: 'hung_up',
  login_timeout: 'timeout',
  admission_timeout: 'admission_timeout',
};

/** How long a client that sends no more may take for what waits for it, however steadily it reads; in milliseconds. */
const LEAVING = 30_000;

/**
 * One DERP connection, from the greeting to its end. It holds the phases and what they share. The phase reads the
 * frames ({@link LoginPhase}, {@link Session}); the {@link Egress} sends.
 */
export class Connection implements Client, Holder, EgressOwner, Timed {
  // Fixed at the start.
  readonly id: ConnectionId;
  readonly egress: Egress;
  private readonly stream: Duplex;
  private readonly decoder: FrameDecoder;

  // Set by the phases, in this order.
  private phase: Phase = 'login';
  private sink: FrameSink;
  private login: OpenedLogin | undefined;
  private loginFault: LoginFault | undefined;
  private entry: Entry<Client> | undefined;
  private session: Session | undefined;
  mesh = false;

  // Deadlines, on the wheel's clock.
  private phaseEnds: number;
  private keepAliveAt = Number.POSITIVE_INFINITY;
  private readAgainAt = Number.POSITIVE_INFINITY;
  /** Set for a client that answers pings. */
  private liveness: Liveness | undefined;

  /** The receive limit, and the bucket that enforces it. */
  private rate: ReceiveRate | null = null;
  private bucket: TokenBucket | undefined;
  /** The client has ended its sending side. */
  private hasEnded = false;
  /** When to close the socket of an ended connection, even if data is still queued for it. */
  private leavesBy = Number.POSITIVE_INFINITY;
  private ownRate: ReceiveRate | null = null;

  /** Its entry among the unadmitted connections, until its admission. */
  private place: Stranger | undefined;
  /** Bytes of its partial login that count against the plane's `loginBytes`. */
  private charged = 0;
  private readonly sources: Sources;
  /** Its share of the budget for partial frames. */
  private partialShare: Share<Holder> | undefined;

  constructor(
    private readonly arrival: Arrival,
    place: Stranger,
    private readonly context: ConnectionContext,
  ) {
    this.id = arrival.id;
    this.stream = arrival.stream;
    this.egress = new Egress(arrival.stream, context, this);
    this.sources = new Sources(this, context);
    this.sink = new LoginPhase(context, (login) => this.onLogin(login));
    this.decoder = new FrameDecoder({
      onHeader: (type, length) => {
        const wanted = this.sink.onHeader(type, length);
        this.throttle(length);
        return wanted;
      },
      onFrame: (type, frame) => this.sink.onFrame(type, frame),
    });
    this.place = place;
    place.end = () => this.close('refused');
    this.phaseEnds = Wheel.now() + place.patience(context.policy.deadlines.clientInfo);
    context.counters.add('accepts');
    this.countTls(1);
    context.connections.set(this.id, this);
    context.wheel.arm(this, this.phaseEnds);
    context.barrier.on(
      this.stream,
      'a connection',
      {
        data: (chunk: Buffer) => this.onData(chunk),
        end: () => this.onEnd(),
        close: () => this.onEnd(),
        error: () => this.onEnd(),
      },
      () => this.fail(),
    );
  }

  get address(): string {
    return this.arrival.peer.address;
  }

  get key(): NodeKey | undefined {
    return this.login?.key;
  }

  /** Sends the greeting and starts to read. `leftover` came with the upgrade request. */
  start(greeting: Buffer, leftover: Buffer): void {
    this.egress.frames(greeting);
    // The greeting leaves before bytes are read that could end the connection.
    this.egress.flush();
    this.onData(leftover);
    // The connection reads on while it waits for admission, too.
    if (this.phase !== 'closed' && !this.isAhead) this.stream.resume();
    // The stream may have ended while it belonged to the HTTP server.
    if (this.stream.readableEnded || this.stream.destroyed) this.onEnd();
  }

  admit(admission: Admission): void {
    if (this.phase !== 'waiting' || !this.login) return;
    const { key, sharedKey, info } = this.login;
    this.settleLogin();
    this.phase = 'open';
    this.mesh = admission.mesh;
    this.ownRate = admission.receiveLimit;
    this.setRate();
    this.phaseEnds = Number.POSITIVE_INFINITY;
    // ServerInfo is the first frame, whatever the client has sent ahead.
    this.egress.frames(sealServerInfo(sharedKey));
    this.egress.flush();
    this.egress.counting = true;
    this.context.lookups.misses.delete(key);
    this.entry = this.context.table.add(this, key);
    this.session = new Session(this, key, this.entry, this.context);
    this.sink = this.session;
    const now = Wheel.now();
    this.armKeepAlive(now);
    if (info.canAckPings) {
      this.liveness = new Liveness(now);
      this.context.wheel.arm(this, this.checkLife(now));
    }
    this.readOn();
  }

  /** Another receive limit holds for it alone. */
  limit(receiveLimit: ReceiveRate | null): void {
    if (this.phase !== 'open') return;
    this.ownRate = receiveLimit;
    this.onPolicy();
  }

  /** The policy was replaced. */
  onPolicy(): void {
    if (this.phase === 'open' && this.setRate()) this.readOn();
  }

  /** Sends control frames; ignored before admission. */
  control(frames: Buffer, pull: boolean): void {
    if (this.phase === 'open') this.egress.frames(frames, pull);
  }

  /** Tells the client that a peer has left that sent it packets. */
  peerGone(source: NodeKey, reason: PeerGoneReason): void {
    this.sources.remove(source);
    this.session?.peerGone(source, reason);
  }

  close(reason: CloseReason): void {
    this.end(reason);
    this.letGo(reason === 'write_timeout' || reason === 'over_budget');
  }

  /** Ends everything but the socket, and raises `closed` once. */
  private end(reason: CloseReason): void {
    if (this.phase === 'closed') return;
    if (this.phase !== 'open') {
      this.settleLogin();
      this.context.counters.add('logins_failed');
      this.context.failures.failed(`logins_failed:${this.failureOf(reason)}`, this.arrival.peer);
    }
    this.phase = 'closed';
    this.countTls(-1);
    this.decoder.end();
    this.context.connections.delete(this.id);
    if (this.entry) this.context.table.remove(this.entry, this);
    this.sources.clear();
    this.notePartial();
    this.egress.leave(() => this.letGo());
    if (this.login) this.context.events.closed(this.id, this.login.key, (to) => to.closed(this.id, reason));
  }

  /** Why its login has failed. */
  private failureOf(reason: CloseReason): LoginFailure {
    // Before its login the control plane does not know it: it can only make room.
    if (reason === 'refused') return this.phase === 'login' ? 'evicted' : 'refused';
    if (reason === 'login_failed') return this.loginFault ?? 'over_budget';
    return LOGIN_ENDS[reason] ?? 'closed';
  }

  /** The end of the socket. What still waits for it is dropped, and counted. */
  private letGo(takesNothing = false): void {
    this.leavesBy = Number.POSITIVE_INFINITY;
    this.context.leaving.delete(this);
    this.egress.close();
    // A client that took no data would not take a TLS alert either.
    if (takesNothing) this.stream.destroy();
    else hangUp(this.stream);
  }

  fail(): void {
    this.close('internal_error');
  }

  get kind(): EgressKind {
    return this.mesh ? MESH_PEER : CLIENT;
  }

  /** Whether a snapshot shows it. */
  get isShown(): boolean {
    return this.session !== undefined && !this.arrival.uncounted;
  }

  /** One row of a snapshot, in the order of its columns. */
  figures(): number[] {
    const { packets = 0, bytes = 0 } = this.session?.received ?? {};
    const { stats, queuedPackets } = this.egress;
    const { senders } = this.sources;
    const roundTrip = this.liveness?.roundTrip ?? Number.NaN;
    const counts = [this.id, packets, bytes, stats.packets, stats.bytes, stats.dropped, queuedPackets];
    return [...counts, senders, roundTrip, ...this.egress.queueFigures()];
  }

  onTime(now: number): number {
    if (this.phase === 'closed') {
      if (now >= this.leavesBy) this.letGo(true);
      return this.leavesBy < Number.POSITIVE_INFINITY
        ? Math.min(this.leavesBy, this.egress.onTime(now))
        : this.leavesBy;
    }
    if (now >= this.phaseEnds) {
      this.close(this.phase === 'login' ? 'login_timeout' : 'admission_timeout');
      return Number.POSITIVE_INFINITY;
    }
    if (this.session && now >= this.keepAliveAt) {
      this.session.keepAlive();
      this.armKeepAlive(now);
    }
    // While its receive limit pauses it, the client's answers are not read.
    if (this.readAgainAt !== Number.POSITIVE_INFINITY) this.liveness?.heard(now);
    if (now >= this.readAgainAt) this.readOn();
    const next = this.checkLife(now);
    return Math.min(this.phaseEnds, this.keepAliveAt, this.readAgainAt, next, this.egress.onTime(now));
  }

  armAt(when: number): void {
    this.context.wheel.arm(this, when);
  }

  onSent(source: NodeKey): void {
    this.sources.sent(source);
  }

  onPong(): void {
    this.liveness?.answered(Wheel.now());
  }

  /** Forgets the oldest `count` sources whose departure it would be told. */
  forgetSources(count: number): void {
    this.sources.forget(count);
  }

  onWriteTimeout(): void {
    this.close('write_timeout');
  }

  onControlOverflow(): void {
    this.close('control_overflow');
  }

  onOverBudget(): void {
    this.close('over_budget');
  }

  onPulled(): void {
    this.raise((to) => to.pulled(this.id));
  }

  /**
   * The client sends no more. Everything that it has sent is still processed, even if that waits for its admission or
   * its receive limit; and if it still reads, it gets the data queued for it.
   */
  private onEnd(): void {
    this.hasEnded = true;
    if (this.context.leaving.has(this)) this.letGo();
    if (this.phase === 'closed') return;
    const waits = this.phase === 'waiting' ? this.decoder.held > 0 : this.readAgainAt !== Number.POSITIVE_INFINITY;
    if (waits) return;
    this.end('disconnected');
    // A WebSocket closes both directions at once.
    if (!this.egress.waits || this.stream.destroyed || this.stream instanceof WebSocketStream) {
      this.letGo();
      return;
    }
    this.context.leaving.add(this);
    this.leavesBy = Wheel.now() + LEAVING;
    this.context.wheel.arm(this, this.leavesBy);
  }

  private onData(chunk: Buffer): void {
    if (this.phase === 'closed') return;
    this.liveness?.heard(this.context.wheel.time);
    this.guard(() => this.decoder.push(chunk));
    if (this.phase === 'login') this.charge();
    else this.weigh();
    if (this.isHeld) this.stream.pause();
    if (this.isAhead) this.stream.pause();
  }

  /**
   * The client waits for admission and has sent ahead all it may. Up to that point the plane reads on, because it sees
   * a disconnect only while it reads.
   */
  private get isAhead(): boolean {
    return this.phase === 'waiting' && this.decoder.held > this.context.policy.limits.leftoverBytes;
  }

  /**
   * Charges the bucket for a frame's body. The frame that overdraws it is read to its end; then the plane stops reading
   * until the debt is paid, and TCP slows the sender down.
   */
  private throttle(length: number): void {
    if (!this.bucket) return;
    const now = Wheel.now();
    const wait = this.bucket.charge(length, now);
    if (wait === 0) return;
    this.context.counters.add('rate_limit_waits');
    this.readAgainAt = now + wait;
    this.context.wheel.arm(this, this.readAgainAt);
    this.decoder.pause();
  }

  /**
   * Takes over the receive limit that applies to this connection, with a full bucket. Returns false if the limit did
   * not change.
   */
  private setRate(): boolean {
    const rate = this.mesh ? null : (this.ownRate ?? this.context.policy.receiveRate);
    if (rate === this.rate) return false;
    this.rate = rate;
    this.bucket = rate ? new TokenBucket(rate.bytesPerSecond, rate.burst, Wheel.now()) : undefined;
    return true;
  }

  private readOn(): void {
    this.readAgainAt = Number.POSITIVE_INFINITY;
    this.guard(() => this.decoder.resume());
    this.weigh();
    if (this.hasEnded) this.onEnd();
    else if (this.phase === 'open' && !this.isHeld) this.stream.resume();
  }

  /** Its receive limit pauses it, and no frame is half read. */
  private get isHeld(): boolean {
    return this.readAgainAt !== Number.POSITIVE_INFINITY && !this.decoder.within;
  }

  private onLogin(login: OpenedLogin): void {
    this.login = login;
    this.phase = 'waiting';
    this.place?.hold();
    this.sink = WaitingPhase;
    this.decoder.pause();
    this.phaseEnds = Wheel.now() + this.context.policy.deadlines.admission;
    this.context.wheel.arm(this, this.phaseEnds);
    const { id, peer, tlsVersion, notIdeal } = this.arrival;
    const { key, info } = login;
    this.raise((to) => to.login({ id, key, info, peer, tlsVersion, notIdeal }));
  }

  /** Charges the bytes of its partial login. The connection that exceeds the limit over all logins is closed. */
  private charge(): void {
    const { held } = this.decoder;
    this.context.loginBytes += held - this.charged;
    this.charged = held;
    if (this.context.loginBytes > this.context.policy.limits.loginBytes) this.close('login_failed');
  }

  /** Notes the bytes that wait to be processed; all connections together may exceed their limit now. */
  private weigh(): void {
    this.notePartial();
    if (this.partialShare) this.context.budgets.partial.relieve();
  }

  private notePartial(): void {
    this.partialShare = this.context.budgets.partial.set(this.partialShare, this, this.decoder.kept);
  }

  private countTls(more: 1 | -1): void {
    const { tlsVersion } = this.arrival;
    if (tlsVersion) this.context.counters.add(tlsVersion === '1.3' ? 'tls_active:tls13' : 'tls_active:tls12', more);
  }

  private settleLogin(): void {
    this.context.loginBytes -= this.charged;
    this.charged = 0;
    this.place?.leave();
    this.place = undefined;
  }

  /**
   * Runs code that reads frames. A protocol error of the client ends its connection; so does a fault of the relay, and
   * no other connection ends.
   */
  private guard(read: () => void): void {
    const readOrClose = () => {
      try {
        read();
      } catch (error) {
        if (!(error instanceof ProtocolError)) throw error;
        if (error instanceof LoginError) this.loginFault = error.fault;
        this.close(this.phase === 'login' ? 'login_failed' : 'protocol_error');
      }
    };
    this.context.barrier.run('frames of a connection', readOrClose, () => this.fail());
  }

  private raise(event: (to: PlaneEvents) => void): void {
    this.context.events.raise(event, () => this.fail());
  }

  /** Pings a silent client, or closes it. Returns the time of the next check. */
  private checkLife(now: number): number {
    const { deadlines } = this.context.policy;
    const due = this.liveness?.look(now, deadlines) ?? Number.POSITIVE_INFINITY;
    if (due === 'gone') {
      this.close('disconnected');
      return Number.POSITIVE_INFINITY;
    }
    if (due !== 'ping') return due;
    this.session?.ping();
    return now + deadlines.pong;
  }

  private armKeepAlive(now: number): void {
    const { interval, jitter } = this.context.policy.keepAlive;
    this.keepAliveAt = now + interval + Math.random() * jitter;
    this.context.wheel.arm(this, this.keepAliveAt);
  }
}
