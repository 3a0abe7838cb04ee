import { reasonOf } from '../../errors.js';
import type { DialTarget, LinkChange, LinkId } from '../../plane/plane.js';
import { formatNodeKey, type NodeKey } from '../../protocol/key.js';
import type { LineLimit } from '../line-limit.js';
import type { AnnouncedKeys, KeyOwner, MeshKeys } from '../mesh-keys.js';
import { PeerCount } from '../peer-count.js';
import type { DialPlaces } from './dial-places.js';
import type { LinkUser } from './link-user.js';
import type { MeshParts, MeshTimes } from './parts.js';
import type { MeshStatus } from './status.js';
import { type Dialled, shortened, targetsOf } from './targets.js';
import type { WantedRelay } from './wanted.js';

/** What the relays of a mesh have in common. */
export interface Common {
  readonly parts: MeshParts;
  readonly times: MeshTimes;
  readonly keys: MeshKeys;
  readonly places: DialPlaces;
  /** Bounds the lines about found relays that cannot be reached. */
  readonly lines: LineLimit;
  /** Numbers a new link. */
  begin(user: LinkUser): LinkId;
  /** The relay of the set that is connected and has this key. */
  holderOf(key: NodeKey): Watch | undefined;
  /** A link to the relay with this key has ended. */
  onEnd(key: NodeKey): void;
  /** Another relay has our key. */
  onTwin(facts: object): void;
}

/** Milliseconds in which the reports of a dial and of its login come. */
const MOMENT = 1_000;

/** How a dial or its link ended. */
interface Outcome {
  readonly opened: boolean;
  readonly reason: string;
}

/** The loop for one relay: dial, follow, wait. It ends when the relay turns out to be this one, or leaves the set. */
export class Watch implements KeyOwner, LinkUser {
  /** Which relay it is. A relay in two sources, or in a source and `meshWith`, can change from one to the other. */
  wanted: WantedRelay;
  serverKey: NodeKey | undefined;
  state: Exclude<MeshStatus['state'], 'leaving'> = 'connecting';
  /** What the relay has been since {@link since}. */
  private condition = 'apart';
  private since = Date.now();
  private failures = 0;
  private link: LinkId | undefined;
  /** When the last dial or link ended, on a monotonic clock. */
  private lastEnd = Number.NEGATIVE_INFINITY;
  private target: DialTarget | undefined;
  private opened = false;
  private ended: ((outcome: Outcome) => void) | undefined;
  /** The keys that the link has announced; they are withdrawn when it ends. */
  private readonly announced: AnnouncedKeys;
  private readonly count: PeerCount;
  private stopped = false;
  /** The whole mesh has stopped: the registry needs no changes any more. */
  private closing = false;
  /** Ends the link of a relay that has left the set. */
  private linger: NodeJS.Timeout | undefined;
  /** Ends the wait before the next dial. */
  private wake: (() => void) | undefined;
  private trouble = '';
  /** The last logged trouble, until the relay works again. */
  private told = '';

  constructor(
    wanted: WantedRelay,
    private readonly common: Common,
  ) {
    const { keys, parts } = common;
    this.wanted = wanted;
    this.announced = keys.link(this);
    this.count = new PeerCount((peers, first) => {
      parts.log('info', { relay: this.wanted.name, peers }, first ? 'mesh link connected' : 'mesh peers');
    }, parts.barrier);
  }

  get isLeaving(): boolean {
    return this.linger !== undefined;
  }

  /** Whether it needs no more of this loop: it has left the set. */
  get isGone(): boolean {
    return this.stopped || this.isLeaving;
  }

  /** Whether other addresses of this relay need no link. */
  get holds(): boolean {
    return this.isConnected && !this.isLeaving;
  }

  /** Whether a dial is in progress, or was a moment ago, which may have reached this relay itself. */
  get isDialling(): boolean {
    const isOpen = this.link !== undefined && !this.isConnected;
    return isOpen || performance.now() - this.lastEnd < MOMENT;
  }

  /** Whether it was last dialled at this address. */
  isAt(address: string): boolean {
    return this.target?.address.address === address;
  }

  private get isConnected(): boolean {
    return this.state === 'connected';
  }

  status(): MeshStatus {
    const { serverKey, since, failures, trouble, wanted } = this;
    const publicKey = serverKey && formatNodeKey(serverKey);
    const { size: peers, passedOver } = this.announced;
    const state = this.isLeaving ? 'leaving' : this.state;
    return { relay: wanted.name, from: wanted.from, state, since, failures, peers, passedOver, publicKey, trouble };
  }

  /** Resolves when the relay needs no more dials. */
  async run(): Promise<void> {
    const { barrier } = this.common.parts;
    while (!this.stopped) {
      if (this.state === 'waiting') this.enter('connecting');
      const release = this.wanted.isFound ? await this.common.places.take(this.failures) : undefined;
      if (!this.stopped) await barrier.settle('a mesh link', this.connectOnce(release));
      release?.();
      if (this.isGone || this.state === 'self') break;
      await this.pause(this.nextPause());
    }
    clearTimeout(this.linger);
  }

  /** The mesh ends, and the plane closes the links. */
  stop(): void {
    this.stopped = true;
    this.closing = true;
    clearTimeout(this.linger);
    this.count.stop();
    this.wake?.();
    this.ended?.({ opened: this.opened, reason: 'shutdown' });
  }

  /**
   * The relay has left the set. A link that works may stay for a while: the relay is often about to end, and still has
   * clients, or the source has left it out for a moment.
   */
  leave(): void {
    if (this.isLeaving) return;
    if (!this.isConnected) {
      this.hangUp();
      return;
    }
    this.linger = setTimeout(
      this.common.parts.barrier.guard('a mesh link that ends', () => this.hangUp()),
      this.common.times.linger,
    ).unref();
  }

  /** The relay is in the set, or is there again. Returns false if its loop is about to end: it needs another one. */
  stay(wanted: WantedRelay): boolean {
    if (this.stopped) return false;
    this.wanted = wanted;
    clearTimeout(this.linger);
    this.linger = undefined;
    return true;
  }

  /** There is a reason to dial now: the relay has dialled this one, or another link to it has ended. */
  hurry(from: 'waiting' | 'duplicate'): void {
    if (this.state === from) this.wake?.();
  }

  onOpen(serverKey: NodeKey): void {
    const { parts } = this.common;
    this.opened = true;
    this.serverKey = serverKey;
    const holder = this.wanted.isFound ? this.common.holderOf(serverKey) : undefined;
    if (serverKey === parts.ownKey || holder) {
      if (holder) this.duplicates(holder);
      parts.hangUp(this.link as LinkId);
      return;
    }
    this.enter('connected');
    this.failures = 0;
    this.count.start();
  }

  onPeers(changes: readonly LinkChange[]): void {
    const link = this.link as LinkId;
    const { keys, parts } = this.common;
    this.told = '';
    for (const { key, present } of changes) {
      const taken = present ? keys.add(this.announced, key) : keys.delete(this.announced, key);
      if (taken) parts.onChange(link, key, present);
    }
    this.count.changed(
      this.announced.size,
      changes.some(({ present }) => !present),
    );
  }

  onCrowded(): void {
    const { parts } = this.common;
    const facts = { relay: this.wanted.name, peers: this.announced.size, limit: parts.mostKeys };
    parts.log('warn', facts, 'keys of a mesh relay are skipped: there are more than limits.meshKeys');
  }

  onForgotten(key: NodeKey): void {
    this.common.parts.onChange(this.link as LinkId, key, false);
  }

  /** A relay announces its clients only at the start of a link, so a new link is needed. */
  onRoom(): void {
    if (this.link === undefined) return;
    const { parts } = this.common;
    parts.log(
      'info',
      { relay: this.wanted.name },
      'there is room for the keys of a mesh relay again: it is dialled anew',
    );
    parts.hangUp(this.link);
  }

  onClosed(reason: string): void {
    this.ended?.({ opened: this.opened, reason });
  }

  private async connectOnce(release: (() => void) | undefined): Promise<void> {
    const { opened, reason } = await this.connect();
    release?.();
    if (this.closing) return;
    const wasConnected = this.isConnected;
    // Every relay announces at least our own key, so a link without keys was refused.
    const refused = opened && this.announced.size === 0;
    this.undo();
    if (wasConnected && this.serverKey) this.common.onEnd(this.serverKey);
    if (this.stopped || (opened && this.state === 'duplicate')) return;
    if (opened && this.serverKey === this.common.parts.ownKey) await this.looksAtItself();
    else
      this.report(
        wasConnected,
        refused ? `${reason} and announced no client: does it have this relay's mesh key?` : reason,
      );
  }

  /** Dials the relay's addresses in order until one admits us; resolves when that link ends. */
  private async connect(): Promise<Outcome> {
    const { parts, times } = this.common;
    let targets: Iterable<Dialled>;
    try {
      targets = await targetsOf(this.wanted.peer, { ...parts, watch: true }, times.connect);
    } catch (error) {
      // The name stands in a setting, or comes from a source.
      return { opened: false, reason: `${reasonOf(error)} (${this.wanted.from})` };
    }
    const failures: string[] = [];
    for (const { target, told } of targets) {
      if (this.stopped) break;
      const outcome = await this.dial(target);
      if (outcome.opened) return outcome;
      failures.push(told(outcome.reason));
    }
    return { opened: false, reason: failures.join('; ') };
  }

  private dial(target: DialTarget): Promise<Outcome> {
    const link = this.common.begin(this);
    this.link = link;
    this.target = target;
    this.opened = false;
    return new Promise((resolve) => {
      this.ended = resolve;
      this.common.parts.dial(link, target);
    });
  }

  /** Ends the loop, and the dial or link that there is. */
  private hangUp(): void {
    this.stopped = true;
    this.wake?.();
    if (this.link !== undefined) this.common.parts.hangUp(this.link);
  }

  /** A relay with our key has answered: this one, or another. */
  private async looksAtItself(): Promise<void> {
    const { parts } = this.common;
    const relay = this.wanted.name;
    const verdict = await parts.isSelf(this.target as DialTarget);
    if (this.stopped) return;
    if (typeof verdict === 'object') {
      this.report(false, verdict.unclear);
    } else if (verdict === 'self') {
      this.enter('self');
      this.failures = 0;
      parts.log('info', { relay }, 'this relay is listed in its own mesh; it is left alone');
    } else {
      this.enter('twin');
      this.failures += 1;
      this.trouble = 'it has the key of this relay';
      this.common.onTwin({ relay });
    }
  }

  private duplicates(holder: Watch): void {
    const { wanted } = holder;
    if (this.state !== 'duplicate') {
      const facts = { relay: this.wanted.name, connected: wanted.name };
      this.common.parts.log('info', facts, 'a mesh relay is connected under another address already');
    }
    this.enter('duplicate');
    this.failures = 0;
    this.trouble = `it is ${wanted.name}`;
  }

  /** Withdraws every key that the link has announced. */
  private undo(): void {
    const link = this.link;
    this.link = undefined;
    this.lastEnd = performance.now();
    this.count.stop();
    if (link === undefined) return;
    for (const key of this.announced) this.common.parts.onChange(link, key, false);
    this.common.keys.clear(this.announced);
  }

  private nextPause(): number {
    const { retry, jitter, longest, recheck } = this.common.times;
    if (this.state === 'twin' || this.state === 'duplicate') return recheck;
    // Of what the settings list, there is little, and an operator expects it to be there.
    const grown = this.wanted.isFound ? Math.min(longest, retry * 2 ** Math.min(this.failures - 1, 10)) : retry;
    return Math.max(retry, grown) + Math.random() * jitter;
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

  private enter(state: Watch['state']): void {
    this.state = state;
    if (state === 'connecting') return;
    // However often it is dialled: what counts is since when it is not connected.
    const condition = state === 'waiting' ? 'apart' : state;
    if (condition !== this.condition) this.since = Date.now();
    this.condition = condition;
  }

  private report(lost: boolean, why: string): void {
    const reason = shortened(why);
    const { parts, lines } = this.common;
    const { name: relay, isFound } = this.wanted;
    const key = this.serverKey && formatNodeKey(this.serverKey);
    if (!lost) this.failures += 1;
    this.enter('waiting');
    this.trouble = reason;
    const facts = lost ? { relay, key, reason } : { relay, reason };
    const text = lost ? 'mesh link lost' : 'mesh link cannot be made';
    // A dial every five seconds may fail in one way; it is logged once. A source may find any number of such relays.
    const isNew = reason !== this.told;
    const heldBack = isNew && isFound && !lost ? lines.take(performance.now()) : 0;
    this.told = reason;
    if (!isNew || heldBack === undefined) parts.log('debug', facts, text);
    else parts.log('warn', { ...facts, ...(heldBack > 0 && { heldBack }) }, text);
  }
}
