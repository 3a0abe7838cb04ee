/** A region in memory: directories whose messages arrive late and in any order, and relays whose planes are tables. */
import {
  type AnnouncedRelay,
  type Directory,
  DirectoryError,
  type DirectorySink,
  type DirectoryStatus,
  isLater,
  type Place,
  type RelayFacts,
} from '../../../../src/control/directory/directory.js';
import type { LinkUser } from '../../../../src/control/mesh/link-user.js';
import type { OnDemandParts } from '../../../../src/control/on-demand/parts.js';
import { RemoteKeys } from '../../../../src/control/on-demand/remote-keys.js';
import type { OnDemandTimes } from '../../../../src/control/on-demand/times.js';
import { Barrier } from '../../../../src/faults/barrier.js';
import type { LinkId } from '../../../../src/plane/plane.js';
import type { NodeKey } from '../../../../src/protocol/key.js';
import { keyOf } from '../../plane/context.js';

/** Times that no test waits for, unless it gives others. */
export const TIMES: OnDemandTimes = {
  ...{ connect: 1_000, retry: 60_000, longest: 60_000 },
  ...{ idle: 60_000, look: 60_000, refuted: 60_000, again: 60_000 },
};

export class Region {
  readonly relays = new Map<NodeKey, Relay>();
  /** Whether the directories are connected. */
  isUp = true;
  /** What is under way. What one relay says to another arrives in its order; all else arrives in any order. */
  private readonly lanes: (() => void)[][] = [];
  private readonly words = new Map<string, (() => void)[]>();

  /** `next` is a random number below its argument. */
  constructor(private readonly next: (below: number) => number = () => 0) {}

  relay(number: number, options: { times?: Partial<OnDemandTimes>; mostKeys?: number } = {}): Relay {
    const relay = new Relay(this, keyOf(number), `10.0.0.${number}`, options);
    this.relays.set(relay.key, relay);
    return relay;
  }

  /** Something that arrives later. */
  later(act: () => void): void {
    this.lanes.push([act]);
  }

  /** A word of one relay to another. */
  say(from: Relay, to: Relay, act: () => void): void {
    const name = `${from.address} ${to.address}`;
    const lane = this.words.get(name) ?? [];
    if (lane.length === 0) this.lanes.push(lane);
    this.words.set(name, lane);
    lane.push(act);
  }

  /** One of the things that are under way arrives. False if there is none. */
  step(): boolean {
    const at = this.next(this.lanes.length);
    const act = this.lanes[at]?.shift();
    if (this.lanes[at]?.length === 0) this.lanes.splice(at, 1);
    act?.();
    return act !== undefined;
  }

  /** Everything that is under way arrives, and what comes of it. */
  async settle(): Promise<void> {
    do {
      while (this.step());
      // Answers are promises, and dials resolve names.
      for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    } while (this.lanes.length > 0);
  }

  /** Which relay a key is at, for all but `asking`. */
  placeOf(key: NodeKey, asking: NodeKey): Place | undefined {
    let best: Place | undefined;
    for (const relay of this.relays.values()) {
      const generation = relay.own.get(key);
      if (generation === undefined || relay.key === asking || relay.isDead) continue;
      const place = { relay: relay.key, generation };
      if (!best || isLater(place, best)) best = place;
    }
    return best;
  }

  announced(): AnnouncedRelay[] {
    return [...this.relays.values()].filter(({ isDead }) => !isDead).map((relay) => relay.announced);
  }

  /** The planes know of no key any more that it is nowhere. */
  forgetMisses(): void {
    for (const { misses } of this.relays.values()) misses.clear();
  }

  /** All relays learn which relays there are. */
  rollCall(): void {
    for (const relay of this.relays.values()) this.later(() => relay.sink?.relays(this.announced()));
  }

  up(isUp: boolean): void {
    this.isUp = isUp;
    for (const relay of this.relays.values()) relay.sink?.state(isUp);
  }
}

/** A relay: what keys on demand see of it. */
export class Relay implements Directory {
  readonly remote: RemoteKeys;
  /** Keys that are connected here, with their generations. */
  readonly own = new Map<NodeKey, number>();
  /** The routes of the plane. */
  readonly routes = new Map<NodeKey, LinkId>();
  /** What was answered to lookups, in order: a relay, or nothing. */
  readonly answers: { readonly key: NodeKey; readonly to: NodeKey | undefined }[] = [];
  readonly gone: NodeKey[] = [];
  /** Keys that the plane does not ask for. */
  readonly misses = new Set<NodeKey>();
  readonly lines: string[] = [];
  readonly watched = new Set<NodeKey>();
  /** Open links, by their numbers. */
  readonly links = new Map<LinkId, { readonly to: Relay; readonly user: LinkUser; packets: number }>();
  /** Dials that have been made. */
  dials = 0;
  finds = 0;
  isDead = false;
  /** Whether it takes connections. */
  isReachable = true;
  /** Whether its process stands still. */
  isPaused = false;
  version = '0';
  settings: RelayFacts['settings'] = {};
  /** What it announces of its settings. */
  digest = '';
  sink: DirectorySink | undefined;
  private readonly waiting = new Map<LinkId, LinkUser>();
  private lastLink = 0;

  constructor(
    private readonly region: Region,
    readonly key: NodeKey,
    readonly address: string,
    options: { times?: Partial<OnDemandTimes>; mostKeys?: number },
  ) {
    const parts: OnDemandParts = {
      ownKey: key,
      directory: this,
      meshKey: '',
      roots: [],
      mostKeys: options.mostKeys ?? 1000,
      begin: (user) => {
        this.lastLink += 1;
        this.waiting.set(this.lastLink, user);
        return this.lastLink;
      },
      dial: (link, target) => this.dial(link, target.address.address),
      hangUp: (link) => this.region.later(() => this.end(link, 'we hung up')),
      linkPackets: async () => new Map([...this.links].map(([link, { packets }]) => [link, packets])),
      attach: (of, link) => {
        this.routes.set(of, link);
        this.answers.push({ key: of, to: this.links.get(link)?.to.key });
      },
      detach: (of) => this.routes.delete(of),
      missing: (of) => {
        this.misses.add(of);
        this.answers.push({ key: of, to: undefined });
      },
      departed: (of) => this.gone.push(of),
      log: (_level, _facts, text) => this.lines.push(text),
      warn: (_isNews, _facts, text) => this.lines.push(text),
      barrier: new Barrier((what, error) => {
        throw new Error(what, { cause: error });
      }),
    };
    this.remote = new RemoteKeys(parts, { ...TIMES, ...options.times });
    this.remote.start();
  }

  get announced(): AnnouncedRelay {
    const load = { clients: this.own.size, links: this.links.size, packets: 0 };
    const { key: id, address, version, digest: settings } = this;
    const facts = { tlsName: 'derp.test', version, settings, since: 0, seen: 0, isSynced: true };
    return { id, address, port: 443, load, ...facts };
  }

  /** A client with the key connects, later than anywhere before. */
  connect(key: NodeKey, generation: number): void {
    this.own.set(key, generation);
    this.tell(key, { relay: this.key, generation }, generation);
  }

  disconnect(key: NodeKey): void {
    const generation = this.own.get(key);
    this.own.delete(key);
    if (generation !== undefined) this.tell(key, undefined, generation);
  }

  /** The process ends without a word. */
  kill(): void {
    this.isDead = true;
    this.own.clear();
    for (const relay of this.region.relays.values())
      for (const [link, { to }] of relay.links) if (to === this) relay.end(link, 'the connection broke');
  }

  /** A client here sends a packet to a key: where it goes to, if the plane knows. */
  send(key: NodeKey): void {
    const link = this.routes.get(key);
    const open = link === undefined ? undefined : this.links.get(link);
    if (link === undefined && !this.misses.has(key)) this.remote.lookup(key);
    else if (open && !open.to.own.has(key)) this.region.later(() => open.user.onPeers([{ key, present: false }]));
  }

  /** The relay that the plane would send packets to. */
  routeTo(key: NodeKey): NodeKey | undefined {
    const link = this.routes.get(key);
    return link === undefined ? undefined : this.links.get(link)?.to.key;
  }

  end(link: LinkId, reason: string): void {
    const open = this.links.get(link);
    const user = open?.user ?? this.waiting.get(link);
    this.links.delete(link);
    this.waiting.delete(link);
    user?.onClosed(reason);
  }

  start(sink: DirectorySink): void {
    this.sink = sink;
  }

  /** Every relay that has the key answers; the first answer counts, and later ones are news. */
  find(key: NodeKey): Promise<Place | undefined> {
    this.finds += 1;
    return new Promise((resolve, reject) => {
      this.region.later(() => {
        const { isUp, relays } = this.region;
        const holders = [...relays.values()].filter((relay) => relay !== this && relay.own.has(key));
        if (!isUp) reject(new DirectoryError('down'));
        else if (holders.length === 0) resolve(undefined);
        let isAnswered = false;
        for (const holder of holders) {
          const generation = holder.own.get(key) as number;
          this.region.say(holder, this, () => {
            const place = { relay: holder.key, generation };
            if (isAnswered) this.sink?.moved(key, holder.key, place, generation);
            else resolve(place);
            isAnswered = true;
          });
        }
      });
    });
  }

  watch(key: NodeKey): void {
    this.watched.add(key);
  }

  unwatch(key: NodeKey): void {
    this.watched.delete(key);
  }

  announce(): void {}

  withdraw(): void {}

  relays(): readonly AnnouncedRelay[] {
    return this.region.announced();
  }

  /** The relay answers, unless it has ended or stands still. */
  ask(relay: NodeKey): Promise<RelayFacts> {
    return new Promise((resolve, reject) => {
      this.region.later(() => {
        const to = this.region.relays.get(relay);
        if (!this.region.isUp) reject(new DirectoryError('down'));
        else if (!to || to.isDead) reject(new DirectoryError('absent'));
        else if (to.isPaused) reject(new DirectoryError('silent'));
        else {
          const { version, load } = to.announced;
          resolve({ version, load, settings: to.settings });
        }
      });
    });
  }

  status(): DirectoryStatus {
    const counts = { connected: 1, lost: 0, found: 0, nowhere: 0, late: 0, syncing: 0, crowded: 0, down: 0 };
    return {
      ...{
        state: this.region.isUp ? 'up' : 'waiting',
        since: 0,
        failures: 0,
        trouble: '',
        twin: '',
        server: 'a server',
      },
      ...{ version: '0', roundTrip: 0, keys: this.own.size, watched: this.watched.size, finding: 0 },
      counts: { ...counts, answered: 0, news: 0, refused: 0 },
    };
  }

  async close(): Promise<void> {}

  private dial(link: LinkId, address: string): void {
    this.dials += 1;
    this.region.later(() => {
      const to = [...this.region.relays.values()].find((relay) => relay.address === address);
      const user = this.waiting.get(link);
      if (!user) return;
      if (!to || to.isDead || !to.isReachable) {
        this.end(link, 'connection refused');
        return;
      }
      this.waiting.delete(link);
      this.links.set(link, { to, user, packets: 0 });
      user.onOpen(to.key);
    });
  }

  private tell(key: NodeKey, place: Place | undefined, generation: number): void {
    if (!this.region.isUp) return;
    for (const relay of this.region.relays.values()) {
      if (relay === this) continue;
      this.region.say(this, relay, () => {
        if (relay.watched.has(key)) relay.sink?.moved(key, this.key, place, generation);
      });
    }
  }
}

/** Relays that know each other. */
export async function relays(count: number, options: Parameters<Region['relay']>[1] = {}) {
  const region = new Region();
  const all = Array.from({ length: count }, (_, index) => region.relay(index + 1, options));
  region.rollCall();
  await region.settle();
  return { region, all: all as [(typeof all)[0], (typeof all)[0], (typeof all)[0]] };
}
