/**
 * The native plane: translates between `plane.ts` and the addon's calls and events. Only this file uses the binding.
 */
import { lookup } from 'node:dns/promises';
import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { getSystemErrorName } from 'node:util';
import { DerpkitError } from '../errors.js';
import { Barrier } from '../faults/barrier.js';
import { type NodeKey, nodeKeyBytes, readNodeKey } from '../protocol/key.js';
import { KEY_LENGTH, type PeerGoneReason } from '../protocol/wire.js';
import { findAddon } from './addon.js';
import { listenError } from './address.js';
import type { Binding, BindingEvent, BindingPlane } from './binding.js';
import { WritableCounters } from './counters.js';
import { EventRecords, type RecordedEvent } from './event-records.js';
import { policyForBinding } from './native-policy.js';
import { tapBatch } from './native-tap.js';
import type {
  Adoption,
  AttachOptions,
  CertificateSet,
  CloseReason,
  ConnectionId,
  DataPlane,
  DialTarget,
  DuplexInfo,
  LinkChange,
  LinkId,
  Listening,
  ListenSpec,
  PacketTap,
  PeerAddress,
  PlaneEvents,
  PlaneFactory,
  PlaneOptions,
  PlanePolicy,
  Snapshot,
  TapOptions,
} from './plane.js';
import { TapStream } from './tap.js';

/** Milliseconds that a JavaScript transport has, after its connection has ended, to take the bytes sent before. */
const LINGER = 1000;
/** Milliseconds until the next attempt, after the plane's events could not be taken. */
const TAKE_AGAIN = 100;

export interface LoadedNative {
  readonly path: string;
  readonly create: PlaneFactory;
}

/** Loads the addon for this platform. Throws `ERR_NATIVE_UNAVAILABLE`, which lists every attempt. */
export function loadNative(): LoadedNative {
  const { path, binding } = findAddon<Binding>();
  return { path, create: nativePlane(binding) };
}

/** Tells a service manager something. Throws what the system says. */
export function notify(socket: string, state: string): void {
  findAddon<Binding>().binding.notify(socket, state);
}

/** The factory of planes that use this addon. */
export function nativePlane(binding: Pick<Binding, 'BindingPlane' | 'policyRows'>): PlaneFactory {
  return (options, events) => new NativePlane(binding, options, events);
}

class NativePlane implements DataPlane {
  readonly kind = 'native';
  readonly counters: WritableCounters;
  private readonly plane: BindingPlane;
  /** Runs every handler. An exception in one becomes a non-fatal fault. */
  private readonly barrier = new Barrier((what, error) => {
    this.events.fault('ERR_INTERNAL', `${what}: ${(error as Error | undefined)?.stack ?? String(error)}`, false);
  });
  private readonly duplexes = new Map<ConnectionId, { stream: Socket; info: DuplexInfo }>();
  /** `attached`: JavaScript transports and their pipes to the plane. `transports`: the transport of each connection. */
  private readonly attached = new Set<Duplex>();
  private readonly transports = new Map<ConnectionId, Duplex>();
  private readonly records = new EventRecords();
  private currentPolicy: PlanePolicy;
  private readonly policyRows: readonly string[];
  private receiveEpoch = 0;
  /** Callers that wait for a sign of life, by number. */
  private readonly pulsing = new Map<number, () => void>();
  private pulses = 0;
  private tapped: TapStream | undefined;
  private closed = false;

  constructor(
    binding: Pick<Binding, 'BindingPlane' | 'policyRows'>,
    options: PlaneOptions,
    private readonly events: PlaneEvents,
  ) {
    this.currentPolicy = options.policy;
    this.policyRows = binding.policyRows();
    this.plane = new binding.BindingPlane(
      options.privateKey,
      policyForBinding(this.policyRows, options.policy, this.receiveEpoch),
      options.workers ?? 0,
      () => this.onWake(),
    );
    const page = this.plane.counters();
    this.counters = page
      ? new WritableCounters(new BigUint64Array(page))
      : new WritableCounters(undefined, () => this.plane.copyCounters());
  }

  async listen(spec: ListenSpec): Promise<Listening> {
    try {
      const { fd } = spec;
      if (fd !== undefined)
        return spec.kind === 'stun'
          ? this.plane.listenStunOn(fd)
          : this.plane.listenOn(fd, spec.derp, spec.kind === 'tls');
      // As in Node, a name stands for its first address.
      const { address } = await lookup(spec.host || '::');
      if (spec.kind === 'stun') return this.plane.listenStun(address, spec.port);
      return this.plane.listen(address, spec.port, spec.derp, spec.kind === 'tls');
    } catch (error) {
      throw listenError(spec, systemError(error as Error));
    }
  }

  certificates(set: CertificateSet): void {
    this.plane.certificates(set.certificates, set.otherwise);
  }

  policy(policy: PlanePolicy): void {
    if (policy.receiveRate !== this.currentPolicy.receiveRate) this.receiveEpoch += 1;
    this.currentPolicy = policy;
    this.plane.policy(policyForBinding(this.policyRows, policy, this.receiveEpoch));
  }

  admit(id: ConnectionId, admission: Parameters<DataPlane['admit']>[1]): void {
    const { mesh, receiveLimit } = admission;
    this.plane.admit(id, mesh, receiveLimit?.bytesPerSecond, receiveLimit?.burst);
  }

  limit(id: ConnectionId, receiveLimit: Parameters<DataPlane['limit']>[1]): void {
    this.plane.limit(id, receiveLimit?.bytesPerSecond, receiveLimit?.burst);
  }

  refuse(id: ConnectionId): void {
    this.plane.close(id, 'refused');
  }

  close(id: ConnectionId, reason: CloseReason): void {
    this.plane.close(id, reason);
    this.duplexes.get(id)?.stream.destroy();
  }

  route(key: NodeKey, via: LinkId | null): void {
    this.plane.route(nodeKeyBytes(key), via);
  }

  missing(key: NodeKey): void {
    this.plane.missing(nodeKeyBytes(key));
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
    const { stream, info } = duplex;
    stream.pause();
    const give = () => {
      if (stream.destroyed) return;
      const { fd } = (stream as unknown as { _handle: { fd: number } })._handle;
      const unread = (stream.read() as Buffer | null) ?? Buffer.alloc(0);
      const leftover = Buffer.concat([how.leftover, unread]);
      const { notIdeal, framing } = how;
      this.plane.adopt(id, fd, {
        listener: info.listener,
        ...info.peer,
        leftover,
        notIdeal,
        webSocket: framing === 'websocket',
      });
      this.duplexes.delete(id);
      // The plane has its own descriptor, so closing this one does not end the connection.
      stream.destroy();
    };
    // The system may have no free descriptor for the copy.
    const giveOrEnd = this.barrier.guard('the adoption of a connection', give, () => stream.destroy());
    if (stream.writableLength === 0) {
      giveOrEnd();
      return;
    }
    // Answers that are still queued go first; the socket sends them itself.
    stream.setTimeout(this.currentPolicy.deadlines.head, () => stream.destroy());
    stream.write('', () => giveOrEnd());
  }

  async attach(stream: Duplex, peer: PeerAddress, options: AttachOptions = {}): Promise<ConnectionId> {
    const id = this.plane.newId();
    this.join(id, stream, peer, options.uncounted === true);
    return id;
  }

  /** Gives the plane a JavaScript stream as a connection. */
  private join(id: ConnectionId, stream: Duplex, { address, port }: PeerAddress, uncounted: boolean): void {
    this.transports.set(id, stream);
    stream.once('close', () => this.transports.delete(id));
    const fd = this.plane.attach(id, address, port, uncounted);
    const pipe = new Socket({ fd, readable: true, writable: true });
    for (const [from, to] of [
      [stream, pipe],
      [pipe, stream],
    ] as const) {
      this.attached.add(from);
      from.pipe(to);
      this.barrier.on(from, 'an attached stream', {
        error: () => to.destroy(),
        close: () => {
          this.attached.delete(from);
          to.destroy();
        },
      });
    }
  }

  /** Ends the transport of an ended connection. A transport that does not read would never see the end of its pipe. */
  private letGo(id: ConnectionId): void {
    const transport = this.transports.get(id);
    if (!transport) return;
    const linger = setTimeout(() => transport.destroy(), LINGER).unref();
    transport.once('close', () => clearTimeout(linger));
  }

  dial(link: LinkId, { address, roots, ...rest }: DialTarget): void {
    if (this.closed) return;
    const target = { ...rest, ...address, roots: roots ?? undefined };
    const refused = this.plane.dial(link, target);
    // Later, as if the plane had raised it: an event is never raised within a call.
    const tell = () => this.events.linkClosed(link, refused as string);
    if (refused !== null) setImmediate(this.barrier.guard('a dial', tell));
  }

  hangUp(link: LinkId): void {
    this.plane.hangUp(link);
  }

  tap({ key, snapLength }: TapOptions): PacketTap {
    if (this.tapped) throw new DerpkitError('ERR_STATE', 'there is a packet tap already');
    this.plane.tap(key === undefined ? null : nodeKeyBytes(key), snapLength);
    this.tapped = new TapStream(
      () => {
        const slab = this.plane.takeTapped();
        return slab ? tapBatch(slab, () => this.plane.releaseTapped(slab)) : undefined;
      },
      () => {
        this.tapped = undefined;
        this.plane.stopTap();
      },
    );
    return this.tapped;
  }

  async snapshot(after: ConnectionId, limit: number): Promise<Snapshot> {
    return this.plane.snapshot(after, limit);
  }

  pulse(): Promise<void> {
    this.pulses += 1;
    const id = this.pulses;
    return new Promise((resolve) => {
      this.pulsing.set(id, resolve);
      this.plane.pulse(id);
    });
  }

  async shutdown(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    this.tapped?.stop();
    this.endOurs();
    this.plane.shutdown();
    for (const stream of this.attached) stream.destroy();
    this.drain();
  }

  /** Ends the JavaScript streams of this plane. */
  private endOurs(): void {
    for (const { stream } of this.duplexes.values()) stream.destroy();
  }

  /** The addon announces events once, so events that could not be taken need another attempt. */
  private onWake(): void {
    this.barrier.run(
      'the events of the plane',
      () => this.drain(),
      () => void setTimeout(() => this.onWake(), TAKE_AGAIN).unref(),
    );
  }

  private drain(): void {
    do {
      // Read whole before any handler runs, because a handler may take events, too.
      for (const event of this.records.read(this.plane.takeEvents(this.records.bytes))) {
        this.barrier.run(
          `an event of the plane: ${event.kind}`,
          () => this.raise(event),
          () => this.end(event),
        );
      }
    } while (this.records.areMore);
    this.tapped?.notify();
  }

  /** Ends the subject of an event whose handler failed. */
  private end(event: RecordedEvent | BindingEvent): void {
    const { kind, id } = event;
    if (kind === 'closed' || kind === 'linkClosed') {
      // Without this event, the records of the connection would stay wrong.
      this.raise(event);
    } else if (kind === 'duplex') {
      const stream = this.duplexes.get(id)?.stream;
      if (stream) stream.destroy();
      else closeSync(event.fd);
    } else if (kind.startsWith('link')) {
      this.plane.hangUp(id);
    } else if (id !== 0) {
      this.plane.close(id, 'internal_error');
    }
  }

  private raise(event: RecordedEvent | BindingEvent): void {
    const { id } = event;
    switch (event.kind) {
      case 'login':
        this.events.login(event.login);
        break;
      case 'closed':
        this.letGo(id);
        this.events.closed(id, event.reason);
        break;
      case 'active':
        this.events.active(event.key, id, event.sequence);
        break;
      case 'watch':
        this.events.watch(id);
        break;
      case 'closePeer':
        this.events.closePeer(id, readNodeKey(event.key));
        break;
      case 'prefer':
        this.events.prefer(id, event.home, event.moves);
        break;
      case 'pulled':
        this.events.pulled(id);
        break;
      case 'lookup':
        this.events.lookup(event.key);
        break;
      case 'heard':
        this.events.heard(event.key);
        break;
      case 'pulse':
        this.pulsing.get(id)?.();
        this.pulsing.delete(id);
        break;
      case 'certificateNeeded': {
        const { serverName, localAddress, alpn } = event;
        this.events.certificateNeeded({ id, serverName, localAddress, alpn });
        break;
      }
      case 'duplex':
        this.onDuplex(event);
        break;
      case 'drops':
        this.events.drops(
          event.drops.map(({ source, destination, ...rest }) => ({
            ...rest,
            source: readNodeKey(source),
            destination: readNodeKey(destination),
          })),
        );
        break;
      case 'failures': {
        const peerOf = ({ address, port, ...rest }: BindingEvent['failures'][number]) => ({
          ...rest,
          peer: { address, port },
        });
        this.events.failures(event.failures.map(peerOf), event.untold);
        break;
      }
      case 'crowded':
        this.events.crowded(event.address);
        break;
      case 'linkOpen':
        this.events.linkOpen(id, readNodeKey(event.key));
        break;
      case 'linkPeers':
        this.events.linkPeers(id, linkChanges(event.changes));
        break;
      case 'linkClosed':
        this.events.linkClosed(id, event.reason);
        break;
      case 'trouble':
        this.events.fault('ERR_INTERNAL', event.reason, false);
        break;
      case 'fault':
        this.endOurs();
        this.events.fault('ERR_INTERNAL', event.reason, true);
        break;
      default:
        event satisfies never;
    }
  }

  /** The descriptor crosses to JavaScript; Node owns it from then on. */
  private onDuplex({ id, fd, listener, address, port, received, tlsVersion }: BindingEvent): void {
    const stream = new Socket({ fd, allowHalfOpen: true, readable: true, writable: true });
    stream.on('error', () => stream.destroy());
    // The plane sees the end of a TLS stream itself, and owns an adopted connection again.
    const isGiven = tlsVersion === undefined;
    stream.once('close', () => {
      if (this.duplexes.delete(id) && isGiven && !this.closed) this.plane.left(id);
    });
    const info: DuplexInfo = { listener, peer: { address, port }, tlsVersion: tlsVersion ?? null };
    this.duplexes.set(id, { stream, info });
    if (this.closed) {
      stream.destroy();
      return;
    }
    stream.pause();
    stream.unshift(received);
    this.events.duplex(id, stream, info);
  }
}

function linkChanges(bytes: Buffer): LinkChange[] {
  const changes: LinkChange[] = [];
  for (let at = 0; at < bytes.length; at += KEY_LENGTH + 1) {
    changes.push({ key: readNodeKey(bytes, at), present: bytes[at + KEY_LENGTH] === 1 });
  }
  return changes;
}

/** The system's error under Node's name; the binding reports it by number. */
function systemError(error: NodeJS.ErrnoException): Error {
  const { errno, code } = error;
  if (errno === undefined || !code?.startsWith('ERR_')) return error;
  return Object.assign(error, { code: getSystemErrorName(errno) });
}
