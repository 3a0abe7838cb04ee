import type { NodeKey } from '../../protocol/key.js';

/** An outbound packet and its facts. */
export interface OutboundPacket {
  /** A whole frame: RecvPacket to a client, ForwardPacket to another relay. */
  frame: Buffer;
  /** Length of the packet alone, without keys and header. */
  readonly payload: number;
  readonly source: NodeKey;
  readonly disco: boolean;
  /** When it entered a queue. */
  queuedAt: number;
}

/** Memory of a queued packet beside its frame. */
const PACKET_OVERHEAD = 128;

/** A FIFO of at most `depth` packets. When full, it drops its head: the oldest packet is worth least in a relay. */
export class PacketQueue {
  private ring: (OutboundPacket | undefined)[] = [];
  private head = 0;
  private count = 0;
  private held = 0;

  /** Memory that its packets take. */
  get bytes(): number {
    return this.held;
  }

  get length(): number {
    return this.count;
  }

  /** Appends a packet. Returns the dropped packet: the oldest, or, at depth 0, the new one itself. */
  push(packet: OutboundPacket, depth: number): OutboundPacket | undefined {
    if (depth <= 0) return packet;
    const evicted = this.count >= depth ? this.shift() : undefined;
    if (this.count === this.ring.length) this.grow(depth);
    this.ring[(this.head + this.count) % this.ring.length] = packet;
    this.count += 1;
    this.held += packet.frame.length + PACKET_OVERHEAD;
    return evicted;
  }

  shift(): OutboundPacket | undefined {
    if (this.count === 0) return undefined;
    const packet = this.ring[this.head] as OutboundPacket;
    this.ring[this.head] = undefined;
    this.head = (this.head + 1) % this.ring.length;
    this.count -= 1;
    this.held -= packet.frame.length + PACKET_OVERHEAD;
    if (this.count === 0) {
      // An empty queue holds no ring, so idle connections stay small.
      this.ring = [];
      this.head = 0;
    }
    return packet;
  }

  private grow(depth: number): void {
    const room = Math.min(Math.max(depth, 1), Math.max(4, 2 * this.ring.length));
    const grown = new Array<OutboundPacket | undefined>(Math.max(room, this.count + 1));
    for (let index = 0; index < this.count; index++) {
      grown[index] = this.ring[(this.head + index) % this.ring.length];
    }
    this.ring = grown;
    this.head = 0;
  }
}
