/** The keys of other relays that this one wants to know about: it listens for news of each of them. */
import type { NodeKey } from '../../protocol/key.js';
import type { DirectorySink } from './directory.js';
import type { Generations } from './generations.js';
import { Kind, readClaim, readPlace } from './messages.js';
import { inSlices, type SealedLink, type SealedMessage } from './sealed-link.js';
import type { Subjects } from './subjects.js';

export class WatchedKeys {
  /** News that was heard. */
  news = 0;
  /** By key, what ends the subscription; `undefined` while there is none. */
  private readonly keys = new Map<NodeKey, (() => void) | undefined>();
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
    if (!this.keys.has(key)) this.keys.set(key, this.sealed && this.listen(this.sealed, key));
  }

  unwatch(key: NodeKey): void {
    this.keys.get(key)?.();
    this.keys.delete(key);
  }

  /** The connection is up: listens again. Rejects if it ends before that is done. */
  async connected(sealed: SealedLink): Promise<void> {
    this.sealed = sealed;
    await inSlices(sealed.link, this.keys, ([key, leave]) => {
      if (!leave) this.keys.set(key, this.listen(sealed, key));
    });
  }

  disconnected(): void {
    this.sealed = undefined;
    for (const key of this.keys.keys()) this.keys.set(key, undefined);
  }

  private listen(sealed: SealedLink, key: NodeKey): () => void {
    const { news, bound } = this.subjects.of(key);
    return sealed.listen(news, bound, (message) => this.hear(key, message));
  }

  private hear(key: NodeKey, { kind, body }: SealedMessage): boolean {
    const place = kind === Kind.Claim ? readClaim(body)?.place : kind === Kind.Left ? readPlace(body) : undefined;
    if (!place) return false;
    if (place.relay === this.relay) return true;
    this.news += 1;
    this.generations.see(key, place.generation);
    this.moved(key, place.relay, kind === Kind.Claim ? place : undefined, place.generation);
    return true;
  }
}
