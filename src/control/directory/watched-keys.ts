/** The keys of other relays that this one wants to know about: it listens for news of each of them. */
import type { NodeKey } from '../../protocol/key.js';
import type { DirectorySink } from './directory.js';
import type { Generations } from './generations.js';
import type { LinkListener, LinkMessage, LinkSubscription } from './link.js';
import { Kind, readClaim, readPlace } from './messages.js';
import { inSlices, type SealedLink, type SealedMessage } from './sealed-link.js';
import type { Subjects } from './subjects.js';

/** A key, which hears news of itself. */
class Watched implements LinkListener {
  /** `undefined` while there is no connection, or it has not got there. */
  subscription: LinkSubscription | undefined;

  constructor(
    private readonly keys: WatchedKeys,
    readonly key: NodeKey,
  ) {}

  onMessage(message: LinkMessage): void {
    this.keys.hear(this, message);
  }
}

export class WatchedKeys {
  /** News that was heard. */
  news = 0;
  private readonly keys = new Map<NodeKey, Watched>();
  private sealed: SealedLink | undefined;

  constructor(
    private readonly relay: NodeKey,
    private readonly subjects: Subjects,
    private readonly generations: Generations,
    private readonly moved: DirectorySink['moved'],
  ) {}

  get size(): number {
    return this.keys.size;
  }

  watch(key: NodeKey): void {
    if (this.keys.has(key)) return;
    const watched = new Watched(this, key);
    this.keys.set(key, watched);
    if (this.sealed) this.listen(this.sealed, watched);
  }

  unwatch(key: NodeKey): void {
    this.keys.get(key)?.subscription?.unsubscribe();
    this.keys.delete(key);
  }

  /** The connection is up: listens again. Rejects if it ends before that is done. */
  async connected(sealed: SealedLink): Promise<void> {
    this.sealed = sealed;
    await inSlices(sealed.link, this.keys.values(), (watched) => {
      if (!watched.subscription) this.listen(sealed, watched);
    });
  }

  disconnected(): void {
    this.sealed = undefined;
    for (const watched of this.keys.values()) watched.subscription = undefined;
  }

  /** News of a key has arrived. */
  hear({ key }: Watched, message: LinkMessage): void {
    this.sealed?.take(message, this.subjects.boundOf(message.subject), (opened) => this.tell(key, opened));
  }

  private listen(sealed: SealedLink, watched: Watched): void {
    watched.subscription = sealed.link.subscribe(this.subjects.of(watched.key).news, watched);
  }

  private tell(key: NodeKey, { kind, body }: SealedMessage): boolean {
    const place = kind === Kind.Claim ? readClaim(body)?.place : kind === Kind.Left ? readPlace(body) : undefined;
    if (!place) return false;
    if (place.relay === this.relay) return true;
    this.news += 1;
    this.generations.see(key, place.generation);
    this.moved(key, place.relay, kind === Kind.Claim ? place : undefined, place.generation);
    return true;
  }
}
