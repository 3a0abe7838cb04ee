/** Bounds the number of keys that all relays of the mesh announce. */
import type { NodeKey } from '../protocol/key.js';
import { KeyQueue } from '../protocol/key-queue.js';

/** Once usage falls below this part of the limit, relays with ignored keys are dialled again. */
const ROOM_AGAIN = 0.75;

/** The keys of one link that this relay has accepted. */
export class AnnouncedKeys extends KeyQueue {
  /** Keys of this link that were ignored, or forgotten in favour of other links, since the relay started. */
  passedOver = 0;
  /** True if the link has announced keys that this relay does not hold. */
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
  /** The relay ignores a key of the link, for the first time since the link was opened. */
  onCrowded(): void;
  /** A key of the link was forgotten to make room for another link's. */
  onForgotten(key: NodeKey): void;
  /** There is room again for the keys that were ignored. */
  onRoom(): void;
}

/**
 * The keys of all links, within a limit. When it is reached, the keys of the link with the most are ignored, and the
 * keys of any other link replace the oldest of that link. So one relay cannot push out the keys of others. There are
 * few links, so the largest is found by a search.
 */
export class MeshKeys {
  private readonly links = new Set<AnnouncedKeys>();
  private total = 0;

  constructor(private readonly limit: number) {}

  /** Makes the key set of a new link. */
  link(owner: KeyOwner): AnnouncedKeys {
    const keys = new AnnouncedKeys(owner);
    this.links.add(keys);
    return keys;
  }

  /** Adds a key of a link. Returns whether the relay holds it now. */
  add(keys: AnnouncedKeys, key: NodeKey): boolean {
    if (keys.has(key)) return true;
    if (this.total >= this.limit && !this.makeRoom(keys)) return false;
    keys.add(key);
    this.total += 1;
    return true;
  }

  /** Removes a key of a link. Returns whether the relay held it. */
  delete(keys: AnnouncedKeys, key: NodeKey): boolean {
    const known = keys.delete(key);
    if (known) this.freed(1);
    return known;
  }

  /** Removes all keys of a link that has ended. */
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
      // Only once, until another key of the link is ignored.
      keys.lacks = false;
      keys.owner.onRoom();
    }
  }
}
