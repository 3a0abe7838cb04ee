/** The native plane: finds the addon, and turns its calls and events into the interface. The only importer of the binding. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { getSystemErrorName } from 'node:util';
import { DerpkitError } from '../errors.js';
import { type NodeKey, nodeKeyBytes, readNodeKey } from '../protocol/key.js';
import type { ClientInfo } from '../protocol/login.js';
import type { PeerGoneReason } from '../protocol/wire.js';
import { VERSION } from '../version.js';
import { listenError } from './address.js';
import { WritableCounters } from './counters.js';
import type {
  Adoption,
  CloseReason,
  ConnectionId,
  DataPlane,
  DuplexInfo,
  Listening,
  ListenSpec,
  PeerAddress,
  PlaneEvents,
  PlaneFactory,
  PlaneOptions,
  PlanePolicy,
  Snapshot,
} from './plane.js';
import { StunListener } from './stun.js';

export interface Binding {
  version(): string;
  readonly BindingPlane: new (
    privateKey: Uint8Array,
    policy: object,
    workers: number,
    wake: () => void,
  ) => BindingPlane;
}

export interface BindingPlane {
  counters(): BigUint64Array;
  listen(host: string, port: number, derp: boolean): { id: number; address: string; port: number };
  policy(policy: object): void;
  admit(id: number, mesh: boolean): void;
  close(id: number, reason: string): void;
  gone(key: Uint8Array, reason: number): void;
  send(ids: readonly number[], frames: Uint8Array, pull: boolean): void;
  newId(): number;
  adopt(id: number, fd: number, address: string, port: number, leftover: Uint8Array, notIdeal: boolean): void;
  attach(id: number, address: string, port: number): number;
  snapshot(offset: number, limit: number): Snapshot;
  takeEvents(): BindingEvent[];
  shutdown(): void;
}

interface BindingEvent {
  readonly kind: string;
  readonly id: number;
  readonly key: Buffer;
  readonly reason: string;
  readonly sequence: number;
  readonly home: boolean;
  readonly address: string;
  readonly port: number;
  readonly notIdeal: boolean;
  readonly info: Omit<ClientInfo, 'meshKey'> & { readonly meshKey?: string };
  readonly listener: number;
  readonly fd: number;
  readonly received: Buffer;
}

export interface LoadedNative {
  readonly path: string;
  readonly create: PlaneFactory;
}

/** Loads the addon for this platform. Throws `ERR_NATIVE_UNAVAILABLE` with everything that was tried. */
export function loadNative(): LoadedNative {
  const target = targetName();
  const tried: string[] = [];
  for (const path of [
    fileURLToPath(new URL(`../../npm/${target}/derpkit.node`, import.meta.url)),
    `@derpkit/${target}`,
  ]) {
    try {
      if (path.startsWith('/') && !existsSync(path)) throw new Error('there is no such file');
      return { path, create: nativePlane(loadAddon(path)) };
    } catch (error) {
      tried.push(`${path}: ${(error as Error).message.split('\n', 1)[0]}`);
    }
  }
  throw new DerpkitError('ERR_NATIVE_UNAVAILABLE', `there is no native plane for ${target} (${tried.join('; ')})`);
}

/** One addon, by its path or package. Throws if it cannot be loaded, or is of another version. */
export function loadAddon(path: string): Binding {
  const binding = createRequire(import.meta.url)(path) as Binding;
  if (binding.version() !== VERSION) throw new Error(`it is version ${binding.version()}, not ${VERSION}`);
  return binding;
}

export function nativePlane(binding: Binding): PlaneFactory {
  return (options, events) => new NativePlane(binding, options, events);
}

/** Platform, architecture and, on Linux, the C library: the name of the package that has the addon. */
function targetName(): string {
  const { platform, arch } = process;
  if (platform !== 'linux') return `${platform}-${arch}`;
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return `linux-${arch}-${header.glibcVersionRuntime ? 'gnu' : 'musl'}`;
}

class NativePlane implements DataPlane {
  readonly kind = 'native';
  readonly counters: WritableCounters;
  private readonly plane: BindingPlane;
  private readonly stuns: StunListener[] = [];
  private readonly duplexes = new Map<ConnectionId, { stream: Socket; info: DuplexInfo }>();
  /** Transports of JavaScript's, and the pipes that lead from them to the plane. */
  private readonly attached = new Set<Duplex>();
  private currentPolicy: PlanePolicy;
  /** Node ends a process that waits for nothing it knows of, and the workers' listeners are none of it. */
  private alive: NodeJS.Timeout | undefined;
  private closed = false;

  constructor(
    binding: Binding,
    options: PlaneOptions,
    private readonly events: PlaneEvents,
  ) {
    this.currentPolicy = options.policy;
    this.plane = new binding.BindingPlane(options.privateKey, flat(options.policy), 0, () => this.drain());
    this.counters = new WritableCounters(this.plane.counters());
  }

  async listen(spec: ListenSpec): Promise<Listening> {
    if (spec.kind === 'tls') throw notYet('TLS');
    if (spec.kind === 'stun') {
      const stun = new StunListener(spec, this.plane.newId(), this.counters);
      const listening = await stun.listen();
      this.stuns.push(stun);
      return listening;
    }
    try {
      this.alive ??= setInterval(() => {}, 2 ** 30);
      return this.plane.listen(spec.host || '::', spec.port, spec.derp);
    } catch (error) {
      throw listenError(spec, systemError(error as Error));
    }
  }

  certificates(): void {
    throw notYet('TLS');
  }

  policy(policy: PlanePolicy): void {
    if (policy.acceptRate) throw notYet('accept limits');
    this.currentPolicy = policy;
    this.plane.policy(flat(policy));
  }

  admit(id: ConnectionId, admission: Parameters<DataPlane['admit']>[1]): void {
    if (admission.receiveLimit) throw notYet('receive limits');
    this.plane.admit(id, admission.mesh);
  }

  refuse(id: ConnectionId): void {
    this.plane.close(id, 'refused');
  }

  close(id: ConnectionId, reason: CloseReason): void {
    this.plane.close(id, reason);
    this.duplexes.get(id)?.stream.destroy();
  }

  route(): void {
    throw notYet('mesh links');
  }

  gone(key: NodeKey, reason: PeerGoneReason): void {
    this.plane.gone(nodeKeyBytes(key), reason);
  }

  send(ids: readonly ConnectionId[], frames: Uint8Array, options?: { readonly pull?: boolean }): void {
    this.plane.send(ids, frames, options?.pull ?? false);
  }

  adopt(id: ConnectionId, how: Adoption): void {
    const duplex = this.duplexes.get(id);
    if (!duplex) return;
    if (how.framing !== 'raw') throw notYet('WebSocket');
    const { stream, info } = duplex;
    const { fd } = (stream as unknown as { _handle: { fd: number } })._handle;
    const unread = (stream.read() as Buffer | null) ?? Buffer.alloc(0);
    const leftover = Buffer.concat([how.leftover, unread]);
    this.plane.adopt(id, fd, info.peer.address, info.peer.port, leftover, how.notIdeal);
    // The plane has a descriptor of its own: this one's close is no end of the connection.
    stream.destroy();
  }

  async attach(stream: Duplex, peer: PeerAddress): Promise<ConnectionId> {
    const id = this.plane.newId();
    const pipe = new Socket({ fd: this.plane.attach(id, peer.address, peer.port), readable: true, writable: true });
    for (const [from, to] of [
      [stream, pipe],
      [pipe, stream],
    ] as const) {
      this.attached.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        this.attached.delete(from);
        to.destroy();
      });
    }
    return id;
  }

  dial(): never {
    throw notYet('mesh links');
  }

  tap(): never {
    throw notYet('the packet tap');
  }

  async snapshot(offset: number, limit: number): Promise<Snapshot> {
    return this.plane.snapshot(offset, limit);
  }

  async shutdown(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    clearInterval(this.alive);
    for (const { stream } of this.duplexes.values()) stream.destroy();
    await Promise.all(this.stuns.map((stun) => stun.close()));
    this.plane.shutdown();
    for (const stream of this.attached) stream.destroy();
    this.drain();
  }

  private drain(): void {
    for (const event of this.plane.takeEvents()) this.raise(event);
  }

  private raise(event: BindingEvent): void {
    const { id } = event;
    switch (event.kind) {
      case 'login': {
        const { info, address, port, notIdeal } = event;
        this.events.login({
          id,
          key: readNodeKey(event.key),
          info: { ...info, meshKey: info.meshKey },
          peer: { address, port },
          tlsVersion: null,
          notIdeal,
        });
        break;
      }
      case 'closed':
        this.events.closed(id, event.reason as CloseReason);
        break;
      case 'active':
        this.events.active(readNodeKey(event.key), id, event.sequence);
        break;
      case 'watch':
        this.events.watch(id);
        break;
      case 'closePeer':
        this.events.closePeer(id, readNodeKey(event.key));
        break;
      case 'prefer':
        this.events.prefer(id, event.home);
        break;
      case 'pulled':
        this.events.pulled(id);
        break;
      case 'duplex':
        this.onDuplex(event);
        break;
      case 'fault':
        this.events.fault('ERR_INTERNAL', event.reason, true);
        break;
    }
  }

  /** The socket itself crosses: Node owns it from here on. */
  private onDuplex({ id, fd, listener, address, port, received }: BindingEvent): void {
    const stream = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
    stream.on('error', () => stream.destroy());
    if (this.closed || this.duplexes.size >= this.currentPolicy.limits.duplexes) {
      this.counters.add('connections_refused');
      stream.destroy();
      return;
    }
    const info: DuplexInfo = { listener, peer: { address, port }, tlsVersion: null };
    this.duplexes.set(id, { stream, info });
    stream.once('close', () => this.duplexes.delete(id));
    stream.pause();
    stream.unshift(received);
    this.events.duplex(id, stream, info);
  }
}

/** The binding's errors end with the system's number, which Node has names for. */
function systemError(error: Error): Error {
  const errno = Number(/\(os error (\d+)\)$/.exec(error.message)?.[1]);
  return Number.isNaN(errno) ? error : Object.assign(error, { errno: -errno, code: getSystemErrorName(-errno) });
}

function flat(policy: PlanePolicy): object {
  const { limits, deadlines, queueDepth, keepAlive, notHere, tcp } = policy;
  return {
    ...limits,
    ...deadlines,
    queueDepth,
    keepAlive: keepAlive.interval,
    keepAliveJitter: keepAlive.jitter,
    notHereBurst: notHere.burst,
    notHerePerSecond: notHere.perSecond,
    tcpKeepAlive: tcp.keepAlive,
    tcpUserTimeout: tcp.userTimeout,
  };
}

function notYet(what: string): DerpkitError {
  return new DerpkitError('ERR_NOT_YET', `the native plane does not have ${what} yet`);
}
