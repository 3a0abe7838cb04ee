/** The relays of the region: each announces itself, and answers questions about itself. */
import { formatNodeKey, type NodeKey, nodeKeyBytes } from '../../protocol/key.js';
import { LineLimit } from '../line-limit.js';
import { AnnouncedRelays, type Announcement, readAnnouncement, writeAnnouncement } from './announced.js';
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
/** Milliseconds between two lines about another relay with our key. */
const TWIN_LINES = 60_000;

export class RollCall {
  readonly others = new AnnouncedRelays();
  private readonly since = Date.now();
  private readonly twinLines = new LineLimit(1, TWIN_LINES, performance.now());
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

  /** All relays, this one included. */
  all(): AnnouncedRelay[] {
    const { instance: _i, isSynced: _s, asks: _a, ...own } = this.own(false);
    return [{ ...own, seen: Date.now() }, ...this.others.all()];
  }

  /** `asks`: the others answer with announcements of their own. */
  announce(asks = false): void {
    const { relays } = this.parts.subjects;
    this.sealed?.send(relays, boundTo(relays), Kind.Relay, writeAnnouncement(this.own(asks)));
  }

  /** Tells the others that this relay ends. */
  leave(): void {
    const { relay, subjects } = this.parts;
    this.sealed?.send(subjects.relays, boundTo(subjects.relays), Kind.Leaving, nodeKeyBytes(relay));
  }

  /** Forgets relays that say nothing any more. While there is no connection, none can say anything. */
  expire(): void {
    const lost = this.sealed ? this.others.expire(Date.now()) : [];
    for (const { id } of lost) this.log('info', id, 'a relay of the region announces itself no longer');
    if (lost.length > 0) this.parts.onChange();
  }

  private own(asks: boolean): Announcement {
    const { relay: id, instance } = this.parts;
    const { address = this.sealed?.link.ownAddress || 'localhost', ...facts } = this.parts.facts();
    return { id, address, ...facts, since: this.since, instance, isSynced: this.parts.isSynced(), asks };
  }

  private hear({ kind, body, time }: SealedMessage): boolean {
    if (kind === Kind.Leaving) {
      const id = readLeaving(body);
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
    if (changed) {
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
  private twin({ instance, address, port }: Announcement): void {
    if (instance === this.parts.instance) return;
    const heldBack = this.twinLines.take(performance.now());
    const text = 'another relay of the region has the key of this relay: give each a keyFile of its own';
    this.log(heldBack === undefined ? 'debug' : 'error', this.parts.relay, text, { addr: address, port });
  }

  private log(level: 'error' | 'info' | 'debug', id: NodeKey, text: string, facts: object = {}): void {
    this.parts.log(level, { key: formatNodeKey(id), ...facts }, text);
  }
}
