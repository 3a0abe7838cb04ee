/**
 * The directory of a region in NATS, whose interest graph knows where keys are: a relay listens to a subject of each key that
 * it has, and a question to a subject to which no relay listens is answered at once. No relay stores keys of others.
 */
import { randomBytes } from 'node:crypto';
import type { Barrier } from '../../faults/barrier.js';
import type { NodeKey } from '../../protocol/key.js';
import type { NatsServer } from '../../protocol/nats-server.js';
import { LineLimit } from '../line-limit.js';
import { Connection } from './connection.js';
import type { AnnouncedRelay, Directory, DirectorySink, DirectoryStatus, Place, RelayFacts } from './directory.js';
import { Finds } from './finds.js';
import { Generations } from './generations.js';
import type { Link, LinkMessage } from './link.js';
import { Kind, readPlace } from './messages.js';
import { OwnKeys } from './own-keys.js';
import { Questions } from './questions.js';
import { type OwnFacts, RollCall } from './roll-call.js';
import { boundTo, Seal } from './seal.js';
import { CLOCKS, type Refusal, SealedLink } from './sealed-link.js';
import { Subjects } from './subjects.js';
import { WatchedKeys } from './watched-keys.js';

export interface NatsDirectoryOptions {
  /** The key of this relay. */
  readonly relay: NodeKey;
  /** 64 hex digits. */
  readonly meshKey: string;
  readonly region: string;
  readonly servers: readonly NatsServer[];
  readonly credsFile?: string | undefined;
  readonly caFile?: string | undefined;
  facts(): OwnFacts;
  /** The settings that may be shown to others who have the mesh key. */
  settings(): RelayFacts['settings'];
  log(level: 'error' | 'info' | 'warn' | 'debug', facts: object, text: string): void;
  readonly barrier: Barrier;
  /** Milliseconds since 1970; the system's, except in tests. */
  readonly clock?: (() => number) | undefined;
}

/** Milliseconds for the last words. */
const FAREWELL = 1_000;
/** Beats between two announcements: one in 5 s. */
const ANNOUNCED_EVERY = 2;
/** Lines about messages that are none of this mesh: so many at once, then one in this many milliseconds. */
const REFUSED_LINES = [1, 60_000] as const;

export class NatsDirectory implements Directory {
  private readonly clock: () => number;
  private readonly subjects: Subjects;
  private readonly seal: Seal;
  private readonly generations = new Generations();
  private readonly own: OwnKeys;
  private readonly watched: WatchedKeys;
  private readonly roll: RollCall;
  private readonly finds: Finds;
  private readonly questions: Questions;
  private readonly connection: Connection;
  private readonly refusedLines = new LineLimit(...REFUSED_LINES, performance.now());
  private sink: DirectorySink | undefined;
  private sealed: SealedLink | undefined;
  private inbox = '';
  /** Whether the sink knows that the connection is up. */
  private isTold = false;
  private isSynced = false;
  private refused = 0;
  private beats = 0;

  constructor(private readonly options: NatsDirectoryOptions) {
    const { relay, meshKey, region, servers, log, barrier, clock = Date.now } = options;
    this.clock = clock;
    this.subjects = new Subjects(region, meshKey);
    this.seal = new Seal(meshKey);
    this.own = new OwnKeys(relay, this.subjects, this.generations, clock);
    this.watched = new WatchedKeys(relay, this.subjects, this.generations, (...news) => this.sink?.moved(...news));
    this.roll = new RollCall({
      relay,
      instance: randomBytes(8).toString('hex'),
      subjects: this.subjects,
      facts: () => options.facts(),
      settings: () => options.settings(),
      isSynced: () => this.isSynced,
      onChange: () => this.sink?.relays(this.roll.all()),
      log,
    });
    this.finds = new Finds({
      ask: (key, token) => this.askFor(key, token),
      isComplete: () => this.roll.others.isSynced,
      onLater: (key, place) => this.later(key, place),
    });
    this.questions = new Questions(this.subjects);
    this.connection = new Connection({
      servers,
      connect: (server) => this.connect(server),
      onUp: (link) => this.up(link),
      onDown: () => this.down(),
      onBeat: () => this.beat(),
      log,
      barrier,
    });
  }

  start(sink: DirectorySink): void {
    this.sink = sink;
    this.connection.start();
  }

  async close(): Promise<void> {
    this.sink = undefined;
    const { current } = this.connection;
    this.roll.leave();
    if (current) await within(FAREWELL, current.flush());
    this.connection.stop();
    await current?.ended;
    this.finds.stop();
    this.questions.disconnected();
  }

  announce(key: NodeKey): void {
    this.own.announce(key);
  }

  withdraw(key: NodeKey): void {
    this.own.withdraw(key);
  }

  async find(key: NodeKey): Promise<Place | undefined> {
    const place = await (this.sealed ? this.finds.find(key) : this.finds.refuse('down'));
    if (place) this.generations.see(key, place.generation);
    return place;
  }

  watch(key: NodeKey): void {
    this.watched.watch(key);
  }

  unwatch(key: NodeKey): void {
    this.watched.unwatch(key);
  }

  relays(): readonly AnnouncedRelay[] {
    return this.roll.all();
  }

  ask(relay: NodeKey): Promise<RelayFacts> {
    return this.questions.ask(relay);
  }

  status(): DirectoryStatus {
    const { connected, lost } = this.connection;
    const { answered } = this.own;
    return {
      ...this.connection.status(),
      twin: this.roll.twinAt,
      keys: this.own.size,
      watched: this.watched.size,
      finding: this.finds.size,
      counts: { connected, lost, ...this.finds.counts, answered, news: this.watched.news, refused: this.refused },
    };
  }

  private async connect(server: NatsServer): Promise<Link> {
    // Only a relay that uses NATS loads its library.
    const { connectNats } = await import('./nats-link.js');
    const { credsFile, caFile, barrier } = this.options;
    return connectNats({ server, credsFile, caFile, name: `derpkit ${this.options.facts().tlsName}`, barrier });
  }

  private async up(link: Link): Promise<void> {
    const sealed = new SealedLink(link, this.seal, this.clock, (why) => this.refuse(why));
    const inbox = `${this.subjects.inbox}.${randomBytes(12).toString('hex')}`;
    link.subscribe(`${inbox}.*`, { onMessage: (message) => this.answered(sealed, message) });
    this.roll.connected(sealed);
    this.roll.announce(true);
    // A user without the permissions ends here, before thousands of subscriptions.
    await link.flush();
    this.inbox = inbox;
    this.sealed = sealed;
    this.questions.connected(sealed);
    // News comes first: what moves while the others are asked again is not missed.
    await this.watched.connected(sealed);
    this.isTold = true;
    this.sink?.state(true);
    await this.own.connected(sealed);
    this.isSynced = true;
    this.roll.announce();
  }

  private down(): void {
    const { isTold } = this;
    this.isTold = false;
    this.sealed = undefined;
    this.isSynced = false;
    this.own.disconnected();
    this.watched.disconnected();
    this.roll.disconnected();
    this.finds.stop();
    this.questions.disconnected();
    if (isTold) this.sink?.state(false);
  }

  private beat(): void {
    this.roll.expire();
    this.beats += 1;
    if (this.beats % ANNOUNCED_EVERY === 0) this.roll.announce();
  }

  private askFor(key: NodeKey, token: string): void {
    const reply = `${this.inbox}.${token}`;
    const { key: subject, bound } = this.subjects.of(key);
    this.sealed?.send(subject, bound, Kind.Find, Buffer.from(reply, 'latin1'), reply);
  }

  private answered(sealed: SealedLink, message: LinkMessage): void {
    const token = message.subject.slice(message.subject.lastIndexOf('.') + 1);
    if (message.isNoResponders) {
      this.finds.nowhere(token);
      return;
    }
    sealed.take(message, boundTo(message.subject), ({ kind, body }) => {
      const place = kind === Kind.Place ? readPlace(body) : undefined;
      if (place) this.finds.answer(token, place);
      return place !== undefined;
    });
  }

  private later(key: NodeKey, place: Place): void {
    this.generations.see(key, place.generation);
    this.sink?.moved(key, place.relay, place, place.generation);
  }

  private refuse(why: Refusal): void {
    this.refused += 1;
    const heldBack = this.refusedLines.take(performance.now());
    const reason = {
      sealed: 'it was not sealed with the mesh key of this relay',
      malformed: 'its contents are malformed',
      time: `its time differs from the clock of this relay by more than ${CLOCKS / 60_000} minutes`,
    }[why];
    const text = 'a message in NATS is ignored';
    this.options.log(heldBack === undefined ? 'debug' : 'warn', { reason, ...(heldBack && { heldBack }) }, text);
  }
}

/** Waits for a promise, but not for long, and not for its success. */
async function within(milliseconds: number, promise: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const end = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([promise.catch(() => {}), end]);
  clearTimeout(timer);
}
