/** How many keys the relays of the mesh may announce, all of them together. */
import type { NodeKey } from '../protocol/key.js';
import { KeyQueue } from '../protocol/key-queue.js';

/** Below this part of the limit there is room again for those whose keys were passed over. */
const ROOM_AGAIN = 0.75;

/** The keys that one link has announced, as far as they were taken. */
export class AnnouncedKeys extends KeyQueue {
  /** Keys of this link that were not taken, or were forgotten for others' sake, since the relay started. */
  passedOver = 0;
  /** It has announced keys that are not here. */
  lacks = false;

  constructor(readonly owner: KeyOwner) {
    super();
  }

  override clear(): void {
    super.clear();
    this.lacks = false;
  }
}

export interface KeyOwner {
  /** The first of its keys is passed over since it was connected. */
  onCrowded(): void;
  /** One of its keys had to go, so that another link's could come. */
  onForgotten(key: NodeKey): void;
  /** There is room again for what it lacks. */
  onRoom(): void;
}

/**
 * What all links have announced. The keys of a link that announces more than any other are passed over when there is no
 * room left; a smaller one's are taken, and the largest forgets its oldest one for each. So what is known stays known, and
 * no relay can push out those of the others. There are as few links as there are relays in the settings: the largest is
 * looked for.
 */
export class MeshKeys {
  private readonly links = new Set<AnnouncedKeys>();
  private total = 0;

  constructor(private readonly limit: number) {}

  /** The keys of one more link. */
  link(owner: KeyOwner): AnnouncedKeys {
    const keys = new AnnouncedKeys(owner);
    this.links.add(keys);
    return keys;
  }

  /** True if the key of a link is taken, or was before. */
  add(keys: AnnouncedKeys, key: NodeKey): boolean {
    if (keys.has(key)) return true;
    if (this.total >= this.limit && !this.makeRoom(keys)) return false;
    keys.add(key);
    this.total += 1;
    return true;
  }

  /** True if the key of a link was here. */
  delete(keys: AnnouncedKeys, key: NodeKey): boolean {
    const known = keys.delete(key);
    if (known) this.freed(1);
    return known;
  }

  /** The link has ended. */
  clear(keys: AnnouncedKeys): void {
    const { size } = keys;
    keys.clear();
    this.freed(size);
  }

  private makeRoom(wanting: AnnouncedKeys): boolean {
    let largest = wanting;
    for (const keys of this.links) if (keys.size > largest.size) largest = keys;
    this.passOver(largest);
    const forgotten = largest === wanting ? undefined : largest.takeOldest();
    if (forgotten === undefined) return false;
    this.total -= 1;
    largest.owner.onForgotten(forgotten);
    return true;
  }

  private passOver(keys: AnnouncedKeys): void {
    keys.passedOver += 1;
    if (keys.lacks) return;
    keys.lacks = true;
    keys.owner.onCrowded();
  }

  private freed(count: number): void {
    this.total -= count;
    if (this.total > this.limit * ROOM_AGAIN) return;
    for (const keys of this.links) {
      if (!keys.lacks) continue;
      // Once, until it lacks some again.
      keys.lacks = false;
      keys.owner.onRoom();
    }
  }
}
