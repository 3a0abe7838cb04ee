import type { LinkId } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import type { Place } from '../directory/directory.js';

/** A key of another relay with which clients of this one talk. */
export class RemoteKey {
  /** Where the key is, as far as is known. */
  place: Place | undefined;
  /** Whether it has ever been known. */
  wasPlaced = false;
  /** The link that leads to it. */
  link: LinkId | undefined;
  /** Packets wait in the plane until this relay knows where the key is. */
  isAsked = false;
  /** Clients of this relay have packets of the key, and want to hear when it leaves. */
  isHeard = false;
  /** The directory is being asked. */
  isFinding = false;
  /** Times in a row that the directory could not say where the key is. */
  failures = 0;
  /** Relays that have lost the key while the directory was being asked, and the last generation that each has lost. */
  private departures: Map<NodeKey, number> | undefined;
  private refuted: { readonly place: Place; readonly until: number } | undefined;

  constructor(readonly key: NodeKey) {}

  /** The relay of its place has denied it: until a time, that place is not believed. `now` is a monotonic clock. */
  refute(until: number): void {
    if (this.place) this.refuted = { place: this.place, until };
    this.place = undefined;
  }

  /** While the directory is being asked, a relay has lost the key. */
  hasLeft(relay: NodeKey, generation: number): void {
    this.wasPlaced = true;
    this.departures ??= new Map();
    this.departures.set(relay, Math.max(generation, this.departures.get(relay) ?? 0));
  }

  /** The directory is asked anew. */
  forgetDepartures(): void {
    this.departures = undefined;
  }

  /** Whether the key has left a place while the directory was being asked. */
  isPast({ relay, generation }: Place): boolean {
    const left = this.departures?.get(relay);
    return left !== undefined && generation <= left;
  }

  /** Whether a place may be believed. */
  believes(place: Place, now: number): boolean {
    const { refuted } = this;
    if (!refuted || now >= refuted.until) return true;
    return place.relay !== refuted.place.relay || place.generation > refuted.place.generation;
  }
}
