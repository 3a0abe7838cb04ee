import { DrainRate } from './drain-rate.js';
import { type OutboundPacket, PacketQueue } from './queue.js';

/** After this many milliseconds without bytes that the system did not take, a link no longer counts as narrow. */
const REMEMBERED = 1_000;
/** After this many milliseconds without waiting packets, nothing is known any more. */
const FORGOTTEN = 60_000;

/** Why a packet in a backlog was dropped. `late`: packets stood for too long. */
export type BacklogDrop = 'full' | 'none' | 'late' | 'crowded';

/**
 * The packets that wait for one destination, and what is known of its link. A destination has one while packets wait, and
 * for a minute after that; most never have one.
 */
export class Backlog {
  private readonly disco = new PacketQueue();
  private readonly regular = new PacketQueue();
  private readonly rate = new DrainRate();
  private waitedAt = 0;
  private refusedAt = Number.NEGATIVE_INFINITY;
  private readonly drops: Record<BacklogDrop, number> = { full: 0, none: 0, late: 0, crowded: 0 };
  private left = 0;
  /** Sum and maximum of the waits of packets that left, in milliseconds. */
  private waits = 0;
  private longestWait = 0;

  get length(): number {
    return this.disco.length + this.regular.length;
  }

  /** Memory that its packets take. */
  get bytes(): number {
    return this.disco.bytes + this.regular.bytes;
  }

  /** Appends a packet at `now`, in milliseconds. Returns the packet that had to go. */
  push(packet: OutboundPacket, depth: number, now: number): OutboundPacket | undefined {
    packet.queuedAt = microseconds(now);
    this.waitedAt = now;
    if (this.length === 0) this.rate.begins(packet.queuedAt);
    return (packet.disco ? this.disco : this.regular).push(packet, depth);
  }

  /** Takes the next packet; discovery packets first, because they end the need for a relay. */
  shift(now: number, late: (packet: OutboundPacket) => void): OutboundPacket | undefined {
    if (this.length === 0) return undefined;
    const at = microseconds(now);
    this.waitedAt = now;
    this.rate.moves(at);
    const packet = this.disco.shift(this.rate, at, late) ?? this.regular.shift(this.rate, at, late);
    if (packet) this.onLeft(waitOf(packet, now));
    return packet;
  }

  /** Takes the oldest packet of the source that has the most; discovery packets last. */
  evict(): OutboundPacket | undefined {
    return this.regular.evict() ?? this.disco.evict();
  }

  drain(): OutboundPacket[] {
    return [...this.disco.drain(), ...this.regular.drain()];
  }

  /** At `now`, in milliseconds, the system does not take what is in the stream. */
  refused(now: number): void {
    this.refusedAt = now;
  }

  /**
   * How many bytes may be in the stream, of `most`: fewer if the system does not take what is there, which `isFull` says, or
   * did not within the last second. Packets that wait for this process alone say nothing about the link: with a smaller
   * window a busy relay would send ever less.
   */
  window(most: number, now: number, isFull: boolean): number {
    return isFull || now - this.refusedAt <= REMEMBERED ? this.rate.ahead(most) : most;
  }

  isForgotten(now: number): boolean {
    return this.length === 0 && now - this.waitedAt > FORGOTTEN;
  }

  dropped(why: BacklogDrop): void {
    this.drops[why] += 1;
  }

  /** Its part of a snapshot's row, in the order of `SNAPSHOT_COLUMNS`. */
  figures(): number[] {
    const { full, none, late, crowded } = this.drops;
    return [full, none, late, crowded, this.left === 0 ? 0 : this.waits / this.left, this.longestWait];
  }

  private onLeft(wait: number): void {
    this.left += 1;
    this.waits += wait;
    this.longestWait = Math.max(this.longestWait, wait);
  }
}

/** {@link Backlog.figures} of a connection without a backlog. */
export const NO_FIGURES: readonly number[] = [0, 0, 0, 0, 0, 0];

/** How long a packet has waited, in milliseconds. */
export function waitOf({ queuedAt }: OutboundPacket, now: number): number {
  return Math.max(now - queuedAt / 1000, 0);
}

function microseconds(milliseconds: number): number {
  return Math.floor(milliseconds * 1000);
}
