/**
 * The JavaScript plane: `node:net`, `node:tls` and tweetnacl. Readability comes first, because it specifies the native
 * plane.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DerpkitError } from '../../errors.js';
import { serverKeyFrame } from '../../protocol/frame.js';
import { keyPairOf, type NodeKey } from '../../protocol/key.js';
import { switchingProtocols } from '../../protocol/upgrade.js';
import type { PeerGoneReason } from '../../protocol/wire.js';
import { WritableCounters } from '../counters.js';
import type {
  Adoption,
  AttachOptions,
  CertificateSet,
  ConnectionId,
  DataPlane,
  DialTarget,
  DuplexInfo,
  LinkId,
  Listening,
  ListenSpec,
  PacketTap,
  PeerAddress,
  PlaneFactory,
  PlaneOptions,
  PlanePolicy,
  Snapshot,
  TapOptions,
} from '../plane.js';
import { Pool, type Stranger, Strangers } from '../strangers.js';
import type { Arrival } from './arrival.js';
import { makeBudgets } from './budgets.js';
import { Connection, type ConnectionContext } from './connection.js';
import { EventQueue } from './events.js';
import { Failures } from './failures.js';
import { hangUp } from './hang-up.js';
import { Links } from './links.js';
import { TcpListener } from './listener.js';
import { Lookups } from './lookups.js';
import { QueueTime } from './queue-time.js';
import { Room } from './room.js';
import { StunListener } from './stun.js';
import { Table } from './table.js';
import { JsTap } from './tap.js';
import { TlsContexts } from './tls.js';
import { uncounted } from './uncounted.js';
import { WebSocketStream } from './websocket-stream.js';
import { Wheel } from './wheel.js';

/**
 * Milliseconds between turns of the wheel: fine enough for a write deadline of 2 s, at twenty wake-ups a second for the
 * whole plane.
 */
const TICK = 50;

const NOTHING = Buffer.alloc(0);
/** The listener of attached streams. */
const NO_LISTENER = 0;

export const createJsPlane: PlaneFactory = (options, events) => {
  const queue = new EventQueue(events);
  const plane = new JsPlane(options, queue);
  return plane;
};

class JsPlane implements DataPlane {
  readonly kind = 'js';
  readonly counters = new WritableCounters();
  readonly context: ConnectionContext;
  private readonly greeting: Buffer;
  private readonly switching: Buffer;
  private readonly listeners: (TcpListener | StunListener)[] = [];
  /** Connections that belong to the HTTP server. */
  private readonly duplexes = new Map<ConnectionId, { stream: Duplex; info: DuplexInfo }>();
  /** Attached streams between greeting and admission. */
  private readonly attaching = new Pool(() => this.context.policy.limits.pendingLogins);
  private contexts: TlsContexts | undefined;
  private lastId = 0;
  private closing: Promise<void> | undefined;

  constructor(options: PlaneOptions, events: EventQueue) {
    const keys = keyPairOf(options.privateKey);
    const failures = new Failures(this.counters, events, () => this.context.policy);
    this.greeting = serverKeyFrame(keys.publicKey);
    this.switching = switchingProtocols(keys.publicKey);
    this.context = {
      policy: options.policy,
      strangers: new Strangers({
        limits: () => this.context.policy.limits,
        evicted: (why, { address }) => {
          this.counters.add(`strangers_evicted:${why}`);
          if (why === 'address') failures.crowded(address);
        },
        refused: (why, peer) => {
          failures.refused(`strangers_refused:${why}`, peer);
          if (why === 'address') failures.crowded(peer.address);
        },
      }),
      keys,
      counters: this.counters,
      queueTime: new QueueTime(this.counters),
      events,
      failures,
      barrier: events.barrier,
      table: new Table(events),
      lookups: new Lookups(
        this.counters,
        () => this.context.policy,
        (key) => this.context.table.lookup(key) !== undefined,
      ),
      wheel: new Wheel(TICK, events.barrier),
      links: new Links(),
      parked: new Map(),
      connections: new Map(),
      leaving: new Set(),
      room: new Room(),
      loginBytes: 0,
      budgets: makeBudgets(this.counters, () => this.context.policy.limits),
    };
  }

  async listen(spec: ListenSpec): Promise<Listening> {
    const id = this.newId();
    const listener = spec.kind === 'stun' ? new StunListener(spec, id, this.context) : new TcpListener(spec, id, this);
    const listening = await listener.listen();
    this.listeners.push(listener);
    return listening;
  }

  /** Packets move on the thread that asks. */
  async pulse(): Promise<void> {}

  certificates(set: CertificateSet): void {
    this.contexts = new TlsContexts(set);
    for (const handshake of [...this.context.parked.values()]) {
      this.context.barrier.run(
        'a parked handshake',
        () => handshake.lookAgain(),
        () => handshake.end(),
      );
    }
  }

  policy(policy: PlanePolicy): void {
    this.context.policy = policy;
    if (!policy.lookups) this.context.lookups.stop();
    for (const connection of this.context.connections.values()) {
      this.each('a policy', connection, () => connection.onPolicy());
    }
    for (const budget of Object.values(this.context.budgets)) budget.relieve();
  }

  admit(id: ConnectionId, admission: Parameters<DataPlane['admit']>[1]): void {
    this.context.connections.get(id)?.admit(admission);
  }

  limit(id: ConnectionId, receiveLimit: Parameters<DataPlane['limit']>[1]): void {
    this.context.connections.get(id)?.limit(receiveLimit);
  }

  refuse(id: ConnectionId): void {
    this.close(id, 'refused');
  }

  close(id: ConnectionId, reason: Parameters<DataPlane['close']>[1]): void {
    this.context.parked.get(id)?.end();
    this.context.connections.get(id)?.close(reason);
    const duplex = this.duplexes.get(id);
    if (duplex) hangUp(duplex.stream);
  }

  route(key: NodeKey, via: LinkId | null): void {
    this.context.links.route(key, via);
    if (via !== null) this.context.lookups.found(key);
  }

  missing(key: NodeKey): void {
    this.context.lookups.missing(key);
  }

  gone(key: NodeKey, reason: PeerGoneReason): void {
    for (const connection of this.context.table.takeSubscribers(key)) {
      this.each('a PeerGone', connection, () => connection.peerGone(key, reason));
    }
  }

  send(ids: readonly ConnectionId[], frames: Uint8Array, options?: { readonly pull?: boolean }): void {
    const bytes = Buffer.from(frames.buffer, frames.byteOffset, frames.byteLength);
    for (const id of ids) {
      const connection = this.context.connections.get(id);
      if (connection) this.each('control frames', connection, () => connection.control(bytes, options?.pull ?? false));
    }
  }

  adopt(id: ConnectionId, how: Adoption): void {
    const duplex = this.duplexes.get(id);
    if (!duplex) return;
    this.duplexes.delete(id);
    const { stream, info } = duplex;
    const place = this.placeFor(stream, info.listener, info.peer);
    if (!place) return;
    const { peer, tlsVersion } = info;
    // The HTTP server's idle timeout does not apply to DERP.
    if ('setTimeout' in stream) (stream as Socket).setTimeout(0);
    const leftover = Buffer.from(how.leftover);
    const { notIdeal } = how;
    if (how.framing === 'raw') {
      this.begin({ id, stream, peer, tlsVersion, notIdeal }, place, NOTHING, leftover);
      return;
    }
    const webSocket = new WebSocketStream(stream, this.context.barrier);
    this.begin({ id, stream: webSocket, peer, tlsVersion, notIdeal }, place, NOTHING, NOTHING);
    webSocket.onBytes(leftover);
    // The stream may have ended while it belonged to the HTTP server.
    if (stream.readableEnded && !webSocket.readableEnded) webSocket.push(null);
  }

  async attach(stream: Duplex, peer: PeerAddress, options: AttachOptions = {}): Promise<ConnectionId> {
    const id = this.newId();
    const place = this.placeFor(stream, NO_LISTENER, peer);
    const arrival = { id, stream, peer, tlsVersion: null, notIdeal: false, uncounted: options.uncounted === true };
    if (place) this.begin(arrival, place, NOTHING, NOTHING);
    return id;
  }

  dial(link: LinkId, target: DialTarget): void {
    if (this.closing) return;
    this.context.links.dial(link, target, this.context);
  }

  hangUp(link: LinkId): void {
    this.context.links.hangUp(link);
  }

  tap(options: TapOptions): PacketTap {
    if (this.context.tap) throw new DerpkitError('ERR_STATE', 'there is a packet tap already');
    this.context.tap = new JsTap(options, () => {
      this.context.tap = undefined;
    });
    return this.context.tap.packets;
  }

  async snapshot(after: ConnectionId, limit: number): Promise<Snapshot> {
    const admitted = [...this.context.connections.values()].filter((connection) => connection.isShown);
    const behind = admitted.filter(({ id }) => id > after).sort((one, other) => one.id - other.id);
    return {
      total: admitted.length,
      rows: Float64Array.from(behind.slice(0, limit).flatMap((connection) => connection.figures())),
      links: Float64Array.from(this.context.links.figures()),
    };
  }

  shutdown(): Promise<void> {
    this.closing ??= this.closeAll();
    return this.closing;
  }

  newId(): number {
    this.lastId += 1;
    return this.lastId;
  }

  tls(): TlsContexts | undefined {
    return this.contexts;
  }

  onDerp(arrival: Arrival, place: Stranger, upgrade: { readonly fastStart: boolean }, rest: Buffer): void {
    const { tlsVersion } = arrival;
    if (tlsVersion) this.counters.add(tlsVersion === '1.3' ? 'tls_upgrades:tls13' : 'tls_upgrades:tls12');
    this.begin(arrival, place, upgrade.fastStart ? NOTHING : this.switching, rest);
  }

  onHttp(id: ConnectionId, stream: Duplex, info: DuplexInfo): void {
    this.duplexes.set(id, { stream, info });
    stream.once('close', () => this.duplexes.delete(id));
    this.context.events.raise(
      (to) => to.duplex(id, stream, info),
      () => stream.destroy(),
    );
  }

  /** Runs one connection's part of a command for several; a fault in it ends only this connection. */
  private each(what: string, connection: Pick<Connection, 'fail'>, act: () => void): void {
    this.context.barrier.run(what, act, () => connection.fail());
  }

  /** A place among the logins for a connection that comes another way than through its listener; it ends if there is none. */
  private placeFor(stream: Duplex, id: number, peer: PeerAddress): Stranger | undefined {
    const listener = this.listeners.find((listener) => listener.id === id);
    const pool = listener instanceof TcpListener ? listener.logins : this.attaching;
    const place = this.context.strangers.enter(pool, peer, () => hangUp(stream), Wheel.now());
    if (!place) hangUp(stream);
    return place;
  }

  private begin(arrival: Arrival, place: Stranger, answer: Buffer, leftover: Buffer): void {
    const context = arrival.uncounted ? uncounted(this.context) : this.context;
    const connection = new Connection(arrival, place, context);
    connection.start(answer.length > 0 ? Buffer.concat([answer, this.greeting]) : this.greeting, leftover);
  }

  private async closeAll(): Promise<void> {
    const ended = Promise.all(this.listeners.map((listener) => listener.close()));
    for (const connection of this.context.connections.values()) {
      this.each('a shutdown', connection, () => connection.close('shutdown'));
    }
    for (const connection of this.context.leaving) {
      this.each('a shutdown', connection, () => connection.close('shutdown'));
    }
    for (const { stream } of this.duplexes.values()) hangUp(stream);
    this.context.links.close();
    this.context.lookups.close();
    await ended;
    this.context.tap?.packets.stop();
    this.context.wheel.stop();
    this.context.events.stop();
  }
}
