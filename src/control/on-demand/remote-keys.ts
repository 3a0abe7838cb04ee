/**
 * Keys of other relays, each looked up once, when a client first sends a packet to it or gets one from it. The directory then
 * tells where it goes. What is kept grows with the keys that clients here talk with, not with the region.
 */
import { reasonOf } from '../../errors.js';
import type { LinkId } from '../../plane/plane.js';
import { formatNodeKey, type NodeKey } from '../../protocol/key.js';
import {
  type AnnouncedRelay,
  DirectoryError,
  type DirectorySink,
  isLater,
  type Place,
} from '../directory/directory.js';
import type { OnDemandParts } from './parts.js';
import type { RelayLink, RelayLinkSink, RelayLinkStatus } from './relay-link.js';
import { RelayLinks } from './relay-links.js';
import { RemoteKey } from './remote-key.js';
import { ON_DEMAND_TIMES, type OnDemandTimes } from './times.js';

/** Keys that are asked for at once when all have to be asked for again. */
const SLICE = 256;
/** Times that an uncertain key is asked for again before it counts as departed. */
const TRIES = 3;

/** What has become of lookups and of remote keys. Counters from the start on. */
export interface OnDemandCounts {
  /** Lookups of the plane. */
  readonly lookups: number;
  /** Lookups of keys that no relay has. */
  readonly nowhere: number;
  /** Lookups that could not be answered: the directory could not say, or the relay could not be dialled. */
  readonly failed: number;
  /** Routes that have changed from one relay to another. */
  readonly moved: number;
  /** Places that their relay has denied. */
  readonly denied: number;
  /** Keys that have left the region. */
  readonly departed: number;
  /** Keys that were forgotten for `limits.meshKeys`. */
  readonly evicted: number;
  /** Links that were closed because nothing took them. */
  readonly closedIdle: number;
}

/** The state of keys on demand. */
export interface OnDemandStatus {
  /** Gauge: keys of other relays that are held. */
  readonly keys: number;
  /** Gauge: those among them that have a route. */
  readonly routed: number;
  /** A link for each relay that announces itself, in the order in which they were first heard. */
  readonly links: readonly RelayLinkStatus[];
  /** What was counted. */
  readonly counts: OnDemandCounts;
}

export class RemoteKeys implements DirectorySink, RelayLinkSink {
  private readonly keys = new Map<NodeKey, RemoteKey>();
  private readonly links: RelayLinks;
  private readonly counts = { lookups: 0, nowhere: 0, failed: 0, moved: 0, denied: 0, departed: 0, evicted: 0 };
  private readonly timers = new Set<NodeJS.Timeout>();
  private stopped = false;
  /** Which round of asking for everything again is the last one. */
  private round = 0;

  constructor(
    private readonly parts: OnDemandParts,
    private readonly times: OnDemandTimes = ON_DEMAND_TIMES,
  ) {
    this.links = new RelayLinks(parts, times, this, (link) => this.leave(link));
  }

  start(): void {
    this.links.start();
    this.parts.directory.start(this);
  }

  stop(): void {
    this.stopped = true;
    this.links.stop();
    for (const timer of this.timers) clearTimeout(timer);
  }

  status(): OnDemandStatus {
    const { keys, links } = this;
    let routed = 0;
    for (const { link } of keys.values()) if (link !== undefined) routed += 1;
    return {
      keys: keys.size,
      routed,
      links: links.status(),
      counts: { ...this.counts, closedIdle: links.closedIdle },
    };
  }

  /** The plane asks for a key: packets to it wait. */
  lookup(key: NodeKey): void {
    this.counts.lookups += 1;
    const remote = this.remember(key);
    remote.isAsked = true;
    if (remote.place) this.connect(remote, remote.place);
    else this.find(remote);
  }

  /** Clients here have packets of a key, and want to hear when it leaves. */
  heard(key: NodeKey): void {
    const remote = this.remember(key);
    remote.isHeard = true;
    if (!remote.place) this.find(remote);
  }

  moved(key: NodeKey, from: NodeKey, place: Place | undefined, generation: number): void {
    const remote = this.keys.get(key);
    if (!remote) return;
    if (remote.isFinding && !place) remote.hasLeft(from, generation);
    const { place: known } = remote;
    if (place) {
      if (!known || isLater(place, known)) this.take(remote, place);
    } else if (known?.relay === from && generation >= known.generation) {
      remote.place = undefined;
      this.find(remote);
    }
  }

  relays(all: readonly AnnouncedRelay[]): void {
    const lost = new Set(this.links.follow(all.filter(({ id }) => id !== this.parts.ownKey)));
    if (lost.size === 0) return;
    for (const remote of [...this.keys.values()]) {
      if (!remote.place || !lost.has(remote.place.relay)) continue;
      remote.place = undefined;
      this.find(remote);
    }
  }

  state(isUp: boolean): void {
    this.round += 1;
    // The other relays have to announce their keys again, too, which takes a while.
    const { round } = this;
    if (isUp && this.keys.size > 0) this.after(this.times.again, () => this.askAgain(round));
  }

  opened(relay: NodeKey, link: LinkId): void {
    for (const remote of this.keys.values()) {
      if (remote.place?.relay === relay && (remote.isAsked || remote.link !== undefined)) this.attach(remote, link);
    }
  }

  ended(relay: NodeKey, link: LinkId | undefined): void {
    if (this.stopped) return;
    for (const remote of [...this.keys.values()]) {
      if (link !== undefined && remote.link === link) {
        this.detach(remote);
        remote.place = undefined;
        this.find(remote);
      } else if (link === undefined && remote.place?.relay === relay) {
        // The key has moved to a relay that cannot be dialled: the next packet to it tries again.
        this.cannot(remote);
      }
    }
  }

  denied(relay: NodeKey, key: NodeKey): void {
    const remote = this.keys.get(key);
    if (remote?.place?.relay !== relay) return;
    this.counts.denied += 1;
    // Packets wait again until it is known where the key is.
    this.detach(remote);
    remote.refute(performance.now() + this.times.refuted);
    this.find(remote);
  }

  private remember(key: NodeKey): RemoteKey {
    const known = this.keys.get(key);
    if (known) return known;
    if (this.keys.size >= this.parts.mostKeys) {
      const [oldest] = this.keys.values();
      this.counts.evicted += 1;
      if (oldest) this.evict(oldest);
    }
    const remote = new RemoteKey(key);
    this.keys.set(key, remote);
    this.parts.directory.watch(key);
    return remote;
  }

  private evict(oldest: RemoteKey): void {
    this.forget(oldest);
    // Its departure will not be known: clients hear of it too early rather than never, and the plane tells of it anew.
    if (oldest.isHeard) this.parts.departed(oldest.key);
  }

  /** Asks the directory. News that come meanwhile are heard: the key is watched. */
  private find(remote: RemoteKey): void {
    if (remote.isFinding || this.stopped) return;
    remote.isFinding = true;
    remote.forgetDepartures();
    const asked = this.parts.directory.find(remote.key).then(
      (place) => this.found(remote, place),
      (error) => this.notFound(remote, error),
    );
    void this.parts.barrier.settle('a key on demand', asked, () => this.cannot(remote));
  }

  private found(remote: RemoteKey, place: Place | undefined): void {
    remote.isFinding = false;
    if (this.keys.get(remote.key) !== remote || this.stopped) return;
    if (place) remote.failures = 0;
    if (place && remote.isPast(place)) {
      // The relay of the answer has lost the key meanwhile.
      this.find(remote);
      return;
    }
    const isBelieved = place && remote.believes(place, performance.now());
    // What the news have said meanwhile may be later than the answer.
    if (isBelieved && (!remote.place || isLater(place, remote.place))) this.take(remote, place);
    else if (remote.place) this.take(remote, remote.place);
    else this.nowhere(remote);
  }

  private notFound(remote: RemoteKey, error: unknown): void {
    remote.isFinding = false;
    if (this.keys.get(remote.key) !== remote || this.stopped) return;
    if (!(error instanceof DirectoryError)) throw error;
    if (remote.place) {
      this.take(remote, remote.place);
      return;
    }
    this.parts.warn(
      remote.failures === 0 && remote.isAsked,
      { key: formatNodeKey(remote.key), reason: reasonOf(error) },
      UNKNOWN,
    );
    // A question that was not asked says nothing about the key.
    if (error.trouble !== 'crowded') remote.failures += 1;
    if (remote.isAsked) this.fail(remote);
    if (!remote.isHeard) this.forget(remote);
    else if (remote.failures >= TRIES) this.depart(remote);
    else this.after(this.times.again, () => this.stillLooks(remote));
  }

  private stillLooks(remote: RemoteKey): void {
    if (this.keys.get(remote.key) === remote && !remote.place) this.find(remote);
  }

  /** The key is at a place. It gets a route, if packets need one. */
  private take(remote: RemoteKey, place: Place): void {
    remote.place = place;
    remote.wasPlaced = true;
    if (remote.isAsked || remote.link !== undefined) this.connect(remote, place);
  }

  private connect(remote: RemoteKey, place: Place): void {
    const link = this.links.get(place.relay);
    if (link?.open !== undefined) this.attach(remote, link.open);
    else if (!link?.dial()) this.cannot(remote);
  }

  private attach(remote: RemoteKey, link: LinkId): void {
    const { key, link: before, isAsked } = remote;
    remote.isAsked = false;
    if (before === link && !isAsked) return;
    if (before !== undefined && before !== link) this.counts.moved += 1;
    this.linkOf(before)?.keys.delete(key);
    remote.link = link;
    this.linkOf(link)?.keys.add(key);
    this.parts.attach(key, link, before);
  }

  private detach(remote: RemoteKey): void {
    const { key, link } = remote;
    if (link === undefined) return;
    this.linkOf(link)?.keys.delete(key);
    remote.link = undefined;
    this.parts.detach(key, link);
  }

  private linkOf(link: LinkId | undefined): RelayLink | undefined {
    return link === undefined ? undefined : this.links.byId(link);
  }

  /** The relay of the key cannot be reached now. The key may still be there: its place stays known if its departure matters. */
  private cannot(remote: RemoteKey): void {
    remote.isFinding = false;
    // A route to the relay from which it has come would never be asked about again.
    this.detach(remote);
    if (remote.isAsked) this.fail(remote);
    if (!remote.isHeard) this.forget(remote);
  }

  private fail(remote: RemoteKey): void {
    remote.isAsked = false;
    this.counts.failed += 1;
    this.parts.missing(remote.key);
  }

  /** No relay has the key. */
  private nowhere(remote: RemoteKey): void {
    if (remote.isAsked) this.counts.nowhere += 1;
    remote.isAsked = false;
    // Also where no packet waits: a key that its relay has denied is asked for no more for a while.
    this.parts.missing(remote.key);
    if (!remote.isHeard) this.forget(remote);
    else if (remote.wasPlaced || remote.failures >= TRIES) this.depart(remote);
    else {
      // A packet of the key was faster than the announcement of the key.
      remote.failures += 1;
      this.after(this.times.again, () => this.stillLooks(remote));
    }
  }

  private depart(remote: RemoteKey): void {
    this.counts.departed += 1;
    this.forget(remote);
    this.parts.departed(remote.key);
  }

  private forget(remote: RemoteKey): void {
    this.detach(remote);
    if (remote.isAsked) this.fail(remote);
    this.keys.delete(remote.key);
    this.parts.directory.unwatch(remote.key);
  }

  /** A link is about to be closed, because no packet takes it. The places of its keys stay known. */
  private leave(link: RelayLink): void {
    for (const key of [...link.keys]) {
      const remote = this.keys.get(key);
      if (remote) this.detach(remote);
    }
  }

  /** News may have been missed: asks for everything again, in slices. */
  private async askAgain(round: number): Promise<void> {
    const all = [...this.keys.values()];
    for (let at = 0; at < all.length && round === this.round && !this.stopped; at += SLICE) {
      const slice = all.slice(at, at + SLICE);
      await Promise.all(slice.map((remote) => this.askOneAgain(remote, round)));
    }
  }

  private async askOneAgain(remote: RemoteKey, round: number): Promise<void> {
    if (round !== this.round || remote.isFinding || this.keys.get(remote.key) !== remote || this.stopped) return;
    let place: Place | undefined;
    try {
      place = await this.parts.directory.find(remote.key);
    } catch {
      // What is known holds: other relays may still be announcing their keys.
      this.after(this.times.again, () => this.askOneAgain(remote, round));
      return;
    }
    if (remote.isFinding || this.keys.get(remote.key) !== remote || this.stopped) return;
    if (place) {
      remote.failures = 0;
      if (!remote.place || isLater(place, remote.place)) this.take(remote, place);
      return;
    }
    // Its relay may not have announced it again yet.
    remote.failures += 1;
    if (remote.failures < TRIES) {
      this.after(this.times.again, () => this.askOneAgain(remote, round));
      return;
    }
    remote.place = undefined;
    this.nowhere(remote);
  }

  private after(milliseconds: number, act: () => void | Promise<void>): void {
    const { barrier } = this.parts;
    const timer = setTimeout(
      barrier.guard('keys on demand', () => {
        this.timers.delete(timer);
        const done = act();
        if (done) void barrier.settle('keys on demand', done);
      }),
      milliseconds,
    ).unref();
    this.timers.add(timer);
  }
}

const UNKNOWN = 'a key cannot be found: the directory of the region does not say where it is';
