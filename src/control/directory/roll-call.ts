/** The relays of the region: each announces itself, and answers questions about itself. */
import { formatEndpoint } from '../../protocol/endpoint.js';
import { formatNodeKey, type NodeKey, nodeKeyBytes } from '../../protocol/key.js';
import { LineLimit } from '../line-limit.js';
import { AnnouncedRelays, type Announcement, LOST_AFTER, readAnnouncement, writeAnnouncement } from './announced.js';
import type { AnnouncedRelay, RelayFacts, RelayLoad } from './directory.js';
import { Kind, readLeaving } from './messages.js';
import { writeFacts } from './relay-facts.js';
import { boundTo } from './seal.js';
import type { SealedLink, SealedMessage } from './sealed-link.js';
import type { Subjects } from './subjects.js';

/** What this relay says of itself. An address that it does not name is the one that NATS sees. */
export interface OwnFacts {
  readonly address: string | undefined;
  readonly port: number;
  readonly tlsName: string;
  readonly version: string;
  readonly load: RelayLoad;
  /** A digest of the settings, in hex. */
  readonly settings: string;
}

export interface RollCallParts {
  readonly relay: NodeKey;
  /** A random number of this process, in hex. */
  readonly instance: string;
  readonly subjects: Subjects;
  facts(): OwnFacts;
  /** The settings that may be shown to others who have the mesh key. */
  settings(): RelayFacts['settings'];
  /** Whether all keys of this relay are announced. */
  isSynced(): boolean;
  onChange(): void;
  log(level: 'error' | 'info' | 'warn' | 'debug', facts: object, text: string): void;
}

/** Milliseconds before an answer to a relay that has just come, at most: not all relays answer it at one time. */
const ANSWER = 200;
/** Milliseconds between two lines about relays with one key. */
const TWIN_LINES = 60_000;

export class RollCall {
  readonly others = new AnnouncedRelays();
  private readonly since = Date.now();
  private readonly twinLines = new LineLimit(1, TWIN_LINES, performance.now());
  /** Another relay that has our key, as it has announced itself last. */
  private rival: AnnouncedRelay | undefined;
  private sealed: SealedLink | undefined;
  private answer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: RollCallParts) {}

  connected(sealed: SealedLink): void {
    const { relay, subjects } = this.parts;
    this.sealed = sealed;
    this.others.resume(Date.now());
    sealed.listen(subjects.relays, boundTo(subjects.relays), (message) => this.hear(message));
    const own = subjects.relay(relay);
    sealed.listen(own, boundTo(own), (message) => this.tell(sealed, message));
  }

  disconnected(): void {
    this.sealed = undefined;
    clearTimeout(this.answer);
    this.answer = undefined;
  }

  /** All relays: this one first, and then another one that has its key, if there is one. */
  all(): AnnouncedRelay[] {
    return [announced(this.own(false)), ...(this.rival ? [this.rival] : []), ...this.others.all()];
  }

  /** Where another relay with our key is; empty if there is none. */
  get twinAt(): string {
    return this.rival ? formatEndpoint(this.rival.address, this.rival.port) : '';
  }

  /** `asks`: the others answer with announcements of their own. */
  announce(asks = false): void {
    const { relays } = this.parts.subjects;
    this.sealed?.send(relays, boundTo(relays), Kind.Relay, writeAnnouncement(this.own(asks)));
  }

  /** Tells the others that this relay ends, and nothing after that. */
  leave(): void {
    const { relay, subjects } = this.parts;
    this.sealed?.send(subjects.relays, boundTo(subjects.relays), Kind.Leaving, nodeKeyBytes(relay));
    this.disconnected();
  }

  /** Forgets relays that say nothing any more. While there is no connection, none can say anything. */
  expire(): void {
    const lost = this.sealed ? this.others.expire(Date.now()) : [];
    for (const { id } of lost) this.log('info', id, 'a relay of the region announces itself no longer');
    const { rival } = this;
    if (this.sealed && rival && Date.now() - rival.seen >= LOST_AFTER) this.rival = undefined;
    if (lost.length > 0 || rival !== this.rival) this.parts.onChange();
  }

  private own(asks: boolean): Announcement {
    const { relay: id, instance } = this.parts;
    const { address = this.sealed?.link.ownAddress || 'localhost', ...facts } = this.parts.facts();
    return { id, address, ...facts, since: this.since, instance, isSynced: this.parts.isSynced(), asks };
  }

  private hear({ kind, body, time }: SealedMessage): boolean {
    if (kind === Kind.Leaving) {
      const id = readLeaving(body);
      if (id === this.parts.relay && this.rival) {
        this.rival = undefined;
        this.parts.onChange();
      }
      if (id && this.others.leave(id, time)) {
        this.log('info', id, 'a relay of the region leaves');
        this.parts.onChange();
      }
      return id !== undefined;
    }
    const announcement = kind === Kind.Relay ? readAnnouncement(body) : undefined;
    if (!announcement) return false;
    const { id, address, port, version, asks } = announcement;
    if (id === this.parts.relay) {
      this.twin(announcement);
      return true;
    }
    const changed = this.others.heard(announcement, time, Date.now());
    if (changed === 'twin') {
      this.warn(id, 'two relays of the region have one key: give each a keyFile of its own', { addr: address, port });
    } else if (changed) {
      this.log('info', id, 'a relay of the region announces itself', { addr: address, port, version });
      this.parts.onChange();
    }
    if (asks && changed !== undefined) this.answerSoon();
    return true;
  }

  private answerSoon(): void {
    this.answer ??= setTimeout(() => {
      this.answer = undefined;
      this.announce();
    }, Math.random() * ANSWER).unref();
  }

  /** Another relay asks what this one does. */
  private tell(sealed: SealedLink, { kind, body, reply }: SealedMessage): boolean {
    const { subjects, facts, settings } = this.parts;
    if (kind !== Kind.Ask || body.toString('latin1') !== reply || !subjects.isForAnswers(reply)) return false;
    const { load, version } = facts();
    sealed.send(reply, boundTo(reply), Kind.Facts, writeFacts({ load, version, settings: settings() }));
    return true;
  }

  /** Another relay has our key, or an announcement of this very process has come back, which NATS is told not to send. */
  private twin(announcement: Announcement): void {
    const { instance, address, port } = announcement;
    if (instance === this.parts.instance) return;
    const { rival } = this;
    this.rival = announced(announcement);
    const text = 'another relay of the region has the key of this relay: give each a keyFile of its own';
    this.warn(this.parts.relay, text, { addr: address, port }, 'error');
    if (rival?.address !== address || rival.port !== port) this.parts.onChange();
  }

  /** Relays announce themselves every few seconds: the line comes once in a while. */
  private warn(id: NodeKey, text: string, facts: object, level: 'error' | 'warn' = 'warn'): void {
    const heldBack = this.twinLines.take(performance.now());
    this.log(heldBack === undefined ? 'debug' : level, id, text, facts);
  }

  private log(level: 'error' | 'info' | 'warn' | 'debug', id: NodeKey, text: string, facts: object = {}): void {
    this.parts.log(level, { key: formatNodeKey(id), ...facts }, text);
  }
}

/** What is known of a relay that has just announced itself. */
function announced({ instance: _i, isSynced: _s, asks: _a, ...relay }: Announcement): AnnouncedRelay {
  return { ...relay, seen: Date.now() };
}
