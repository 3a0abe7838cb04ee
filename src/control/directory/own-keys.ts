/** The keys that are connected to this relay: it listens for questions about each of them, and answers. */
import type { NodeKey } from '../../protocol/key.js';
import { isLater, type Place } from './directory.js';
import type { Generations } from './generations.js';
import type { LinkListener, LinkMessage, LinkSubscription } from './link.js';
import { Kind, readClaim, readHeld, writeClaim, writeHeld, writePlace } from './messages.js';
import { boundTo } from './seal.js';
import { inSlices, type SealedLink, type SealedMessage } from './sealed-link.js';
import type { KeySubjects, Subjects } from './subjects.js';

/** A key, which hears what arrives for it. */
class Own implements LinkListener {
  /** Whether other relays have been told that the key has come here. */
  isClaimed = false;
  /** `undefined` while there is no connection, or it has not got there. */
  subscription: LinkSubscription | undefined;

  constructor(
    private readonly keys: OwnKeys,
    readonly key: NodeKey,
    public generation: number,
  ) {}

  onMessage(message: LinkMessage): void {
    this.keys.hear(this, message);
  }
}

/** Keys that have left while there was no connection, of which other relays are told later. */
const MOST_ENDED = 65_536;

export class OwnKeys {
  /** Questions that were answered. */
  answered = 0;
  private readonly keys = new Map<NodeKey, Own>();
  /** Places that have ended while there was no connection, by key: the oldest first. */
  private readonly ended = new Map<NodeKey, Place>();
  private sealed: SealedLink | undefined;

  constructor(
    private readonly relay: NodeKey,
    private readonly subjects: Subjects,
    private readonly generations: Generations,
    private readonly clock: () => number,
  ) {}

  get size(): number {
    return this.keys.size;
  }

  announce(key: NodeKey): void {
    if (this.keys.has(key)) return;
    const own = new Own(this, key, this.generations.next(key, this.clock()));
    this.keys.set(key, own);
    if (this.sealed) this.enter(this.sealed, own);
  }

  withdraw(key: NodeKey): void {
    const own = this.keys.get(key);
    if (!own) return;
    this.keys.delete(key);
    this.generations.see(key, own.generation);
    own.subscription?.unsubscribe();
    if (!own.isClaimed) return;
    const place = this.placeOf(own);
    if (this.sealed) {
      this.left(this.sealed, key, place);
      return;
    }
    this.ended.set(key, place);
    if (this.ended.size > MOST_ENDED) this.ended.delete(this.ended.keys().next().value as NodeKey);
  }

  /** The connection is up: announces all keys. Rejects if it ends before that is done. */
  async connected(sealed: SealedLink): Promise<void> {
    this.sealed = sealed;
    // Those that come meanwhile are announced at once, and skipped here.
    await inSlices(sealed.link, this.keys.values(), (own) => {
      if (!own.subscription) this.enter(sealed, own);
    });
    // Relays that were not away themselves still think that these are here. One that has come back has said so just now.
    await inSlices(sealed.link, this.ended, ([key, place]) => {
      if (!this.keys.has(key)) this.left(sealed, key, place);
    });
    this.ended.clear();
  }

  disconnected(): void {
    this.sealed = undefined;
    for (const own of this.keys.values()) own.subscription = undefined;
  }

  /** A message has arrived for a key that is here. */
  hear(own: Own, message: LinkMessage): void {
    const { sealed } = this;
    sealed?.take(message, this.subjects.boundOf(message.subject), (opened) => this.answer(sealed, own, opened));
  }

  private left(sealed: SealedLink, key: NodeKey, place: Place): void {
    const { news, bound } = this.subjects.of(key);
    sealed.send(news, bound, Kind.Left, writePlace(place));
  }

  private enter(sealed: SealedLink, own: Own): void {
    const subjects = this.subjects.of(own.key);
    own.subscription = sealed.link.subscribe(subjects.key, own);
    this.claim(sealed, subjects, own, !own.isClaimed);
    own.isClaimed = true;
  }

  /** Relays that have the key compare generations; those that watch it learn where it is. */
  private claim(sealed: SealedLink, { key, news, bound }: KeySubjects, own: Own, isNew: boolean): void {
    sealed.send([key, news], bound, Kind.Claim, writeClaim({ place: this.placeOf(own), isNew }));
  }

  private answer(sealed: SealedLink, own: Own, { kind, body, reply }: SealedMessage): boolean {
    switch (kind) {
      case Kind.Find:
        // The place for the answer is in the seal, too, and can be no other subject than one for answers.
        if (body.toString('latin1') !== reply || !this.subjects.isForAnswers(reply)) return false;
        this.answered += 1;
        sealed.send(reply, boundTo(reply), Kind.Place, writePlace(this.placeOf(own)));
        return true;
      case Kind.Claim: {
        const claim = readClaim(body);
        if (claim && claim.place.relay !== this.relay) this.compare(sealed, own, claim.place, claim.isNew);
        return claim !== undefined;
      }
      case Kind.Held: {
        const held = readHeld(body);
        if (held?.to === this.relay && !isLater(this.placeOf(own), held.place)) {
          own.generation = held.place.generation + 1;
          this.claim(sealed, this.subjects.of(own.key), own, true);
        }
        return held !== undefined;
      }
      default:
        return false;
    }
  }

  /** A client that has just come to another relay is there, although this clock may be ahead of that relay's. */
  private compare(sealed: SealedLink, own: Own, place: Place, isNew: boolean): void {
    const mine = this.placeOf(own);
    if (isLater(place, mine)) {
      this.generations.see(own.key, place.generation);
    } else if (isNew) {
      const { key: subject, bound } = this.subjects.of(own.key);
      sealed.send(subject, bound, Kind.Held, writeHeld({ place: mine, to: place.relay }));
    }
  }

  private placeOf({ generation }: Own): Place {
    return { relay: this.relay, generation };
  }
}
