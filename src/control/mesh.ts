/** The relays of the mesh: dials them, follows the clients that they announce, and dials again. */
import { lookup } from 'node:dns/promises';
import { reasonOf } from '../errors.js';
import type { Barrier } from '../faults/barrier.js';
import type { DialTarget, LinkChange, LinkId } from '../plane/plane.js';
import { formatNodeKey, type NodeKey, shortKey } from '../protocol/key.js';
import type { MeshPeer } from '../protocol/mesh-peer.js';
import { inTime } from './in-time.js';
import { type AnnouncedKeys, type KeyOwner, MeshKeys } from './mesh-keys.js';
import { PeerCount } from './peer-count.js';

/** What the mesh uses of plane, registry and log. */
export interface MeshParts {
  readonly ownKey: NodeKey;
  readonly meshKey: string;
  readonly roots: readonly Uint8Array[];
  /** The number of keys that all relays together may announce. */
  readonly mostKeys: number;
  dial(link: LinkId, target: DialTarget): void;
  hangUp(link: LinkId): void;
  /** A link has announced a key, or withdrawn it. */
  onChange(link: LinkId, key: NodeKey, present: boolean): void;
  log(level: 'info' | 'warn' | 'debug', facts: object, text: string): void;
  readonly barrier: Barrier;
}

export interface MeshTimes {
  /** Milliseconds for name lookup, TCP, TLS, HTTP and login together; equals that of derper's clients. */
  readonly connect: number;
  /**
   * Milliseconds before the next dial, plus up to `jitter`, so that two relays do not keep dialling each other at one
   * time.
   */
  readonly retry: number;
  readonly jitter: number;
}

export const MESH_TIMES: MeshTimes = { connect: 10_000, retry: 5_000, jitter: 1_000 };

/** A relay of the mesh and the state of its link. */
export interface MeshStatus {
  /** The relay as the settings name it: `host` or `host:port`. */
  readonly relay: string;
  /**
   * `connecting`: a dial is in progress; `waiting`: until the next dial; `self`: it is this relay, which is not dialled
   * again.
   */
  readonly state: 'connecting' | 'connected' | 'waiting' | 'self';
  /** Gauge: node keys that it announces. */
  readonly peers: number;
  /** Node keys of it that were ignored, or forgotten later, because of `limits.meshKeys`. */
  readonly passedOver: number;
  /** Its key, `nodekey:<hex>`; `undefined` before the first connection. */
  readonly publicKey: string | undefined;
  /** Why the last dial failed or the last link ended; empty if neither happened yet. */
  readonly trouble: string;
}

export class Mesh {
  private readonly watches: readonly Watch[];
  private readonly byLink = new Map<LinkId, Watch>();
  private lastLink = 0;

  constructor(
    peers: readonly MeshPeer[],
    private readonly parts: MeshParts,
    times: MeshTimes = MESH_TIMES,
  ) {
    const begin = (watch: Watch) => {
      this.lastLink += 1;
      this.byLink.set(this.lastLink, watch);
      return this.lastLink;
    };
    const keys = new MeshKeys(parts.mostKeys);
    this.watches = peers.map((peer) => new Watch(peer, parts, times, keys, begin));
  }

  start(): void {
    for (const watch of this.watches) void this.parts.barrier.settle('a mesh link', watch.run());
  }

  /** Stops dialling. The plane closes the links. */
  stop(): void {
    for (const watch of this.watches) watch.stop();
  }

  status(): MeshStatus[] {
    return this.watches.map((watch) => watch.status());
  }

  linkOpen(link: LinkId, serverKey: NodeKey): void {
    this.byLink.get(link)?.onOpen(serverKey);
  }

  linkPeers(link: LinkId, changes: readonly LinkChange[]): void {
    this.byLink.get(link)?.onPeers(changes);
  }

  linkClosed(link: LinkId, reason: string): void {
    const watch = this.byLink.get(link);
    this.byLink.delete(link);
    watch?.onClosed(reason);
  }
}

/** How a dial or its link ended. */
interface Outcome {
  readonly opened: boolean;
  readonly reason: string;
}

/** The loop for one relay: dial, follow, wait. It ends only if the relay turns out to be this one. */
class Watch implements KeyOwner {
  private state: MeshStatus['state'] = 'connecting';
  private serverKey: NodeKey | undefined;
  private link: LinkId | undefined;
  private opened = false;
  private ended: ((outcome: Outcome) => void) | undefined;
  /** The keys that the link has announced; they are withdrawn when it ends. */
  private readonly announced: AnnouncedKeys;
  private readonly count: PeerCount;
  private stopped = false;
  /** Ends the wait before the next dial. */
  private wake: (() => void) | undefined;
  private trouble = '';
  /** The last logged trouble, until the relay works again. */
  private told = '';

  constructor(
    private readonly peer: MeshPeer,
    private readonly parts: MeshParts,
    private readonly times: MeshTimes,
    private readonly keys: MeshKeys,
    private readonly begin: (watch: Watch) => LinkId,
  ) {
    this.announced = keys.link(this);
    this.count = new PeerCount((peers, first) => {
      const { authority: relay } = this.peer;
      parts.log('info', { relay, peers }, first ? 'mesh link connected' : 'mesh peers');
    }, parts.barrier);
  }

  status(): MeshStatus {
    const { state, serverKey } = this;
    const publicKey = serverKey && formatNodeKey(serverKey);
    const { size: peers, passedOver } = this.announced;
    return { relay: this.peer.authority, state, peers, passedOver, publicKey, trouble: this.trouble };
  }

  async run(): Promise<void> {
    const { retry, jitter } = this.times;
    while (!this.stopped) {
      this.state = 'connecting';
      await this.parts.barrier.settle('a mesh link', this.connectOnce());
      if (this.stopped || this.isSelf()) return;
      this.state = 'waiting';
      await this.pause(retry + Math.random() * jitter);
    }
  }

  private async connectOnce(): Promise<void> {
    const { opened, reason } = await this.connect();
    if (this.stopped) return;
    // Every relay announces at least our own key, so a link without keys was refused.
    const refused = opened && this.announced.size === 0;
    this.undo();
    if (this.isSelf()) return;
    this.report(opened, refused ? `${reason} and announced no client: does it have this relay's mesh key?` : reason);
  }

  stop(): void {
    this.stopped = true;
    this.count.stop();
    this.wake?.();
    this.ended?.({ opened: this.opened, reason: 'shutdown' });
  }

  onOpen(serverKey: NodeKey): void {
    this.opened = true;
    this.serverKey = serverKey;
    if (serverKey === this.parts.ownKey) {
      this.state = 'self';
      this.parts.log('info', { relay: this.peer.authority }, 'this relay is listed in its own mesh; it is left alone');
      this.parts.hangUp(this.link as LinkId);
      return;
    }
    this.state = 'connected';
    this.count.start();
  }

  onPeers(changes: readonly LinkChange[]): void {
    const link = this.link as LinkId;
    this.told = '';
    for (const { key, present } of changes) {
      const taken = present ? this.keys.add(this.announced, key) : this.keys.delete(this.announced, key);
      if (taken) this.parts.onChange(link, key, present);
    }
    this.count.changed(
      this.announced.size,
      changes.some(({ present }) => !present),
    );
  }

  onCrowded(): void {
    const { authority: relay } = this.peer;
    const facts = { relay, peers: this.announced.size, 'limits.meshKeys': this.parts.mostKeys };
    this.parts.log('warn', facts, 'keys of a mesh relay are skipped: there are more than limits.meshKeys');
  }

  onForgotten(key: NodeKey): void {
    this.parts.onChange(this.link as LinkId, key, false);
  }

  /** A relay announces its clients only at the start of a link, so a new link is needed. */
  onRoom(): void {
    if (this.link === undefined) return;
    const { authority: relay } = this.peer;
    this.parts.log('info', { relay }, 'there is room for the keys of a mesh relay again: it is dialled anew');
    this.parts.hangUp(this.link);
  }

  onClosed(reason: string): void {
    this.ended?.({ opened: this.opened, reason });
  }

  /** Dials the relay's addresses in order until one admits us; resolves when that link ends. */
  private async connect(): Promise<Outcome> {
    const until = performance.now() + this.times.connect;
    const { dialHost, host, authority, port } = this.peer;
    let addresses: readonly string[];
    try {
      addresses = await resolve(dialHost, this.times.connect);
    } catch (error) {
      return { opened: false, reason: reasonOf(error) };
    }
    const failures: string[] = [];
    for (const [index, address] of addresses.entries()) {
      if (this.stopped) break;
      // An address that never answers leaves time for the others.
      const timeout = Math.max(0, until - performance.now()) / (addresses.length - index);
      const outcome = await this.dial({
        address: { address, port },
        host,
        authority,
        roots: this.parts.roots,
        meshKey: this.parts.meshKey,
        timeout: Math.round(timeout),
      });
      if (outcome.opened) return outcome;
      failures.push(addresses.length > 1 ? `${address}: ${outcome.reason}` : outcome.reason);
    }
    return { opened: false, reason: failures.join('; ') };
  }

  private dial(target: DialTarget): Promise<Outcome> {
    const link = this.begin(this);
    this.link = link;
    this.opened = false;
    return new Promise((resolve) => {
      this.ended = resolve;
      this.parts.dial(link, target);
    });
  }

  /** Withdraws every key that the link has announced. */
  private undo(): void {
    const link = this.link;
    this.link = undefined;
    this.count.stop();
    if (link === undefined) return;
    for (const key of this.announced) this.parts.onChange(link, key, false);
    this.keys.clear(this.announced);
  }

  private pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds).unref();
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  private isSelf(): boolean {
    return this.state === 'self';
  }

  private report(opened: boolean, reason: string): void {
    const { authority: relay } = this.peer;
    const server = this.serverKey && shortKey(this.serverKey);
    // A dial every five seconds may fail in one way; it is logged once.
    const level = reason === this.told ? 'debug' : 'warn';
    this.trouble = reason;
    this.told = reason;
    if (opened) this.parts.log(level, { relay, server, reason }, 'mesh link lost');
    else this.parts.log(level, { relay, reason }, 'mesh link cannot be made');
  }
}

/** All addresses of a name, in the system's order. An address stands for itself. */
async function resolve(host: string, patience: number): Promise<string[]> {
  const found = lookup(host, { all: true, verbatim: true });
  const addresses = await inTime(found, patience, 'its name is not resolved in time');
  return addresses.map(({ address }) => address);
}
