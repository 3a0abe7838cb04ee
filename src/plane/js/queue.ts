import type { NodeKey } from '../../protocol/key.js';

/** A packet on its way out, and what has to be known of it. */
export interface OutboundPacket {
  /** A whole frame: RecvPacket to a client, ForwardPacket to another relay. */
  frame: Buffer;
  /** Bytes of the packet alone. */
  readonly payload: number;
  readonly source: NodeKey;
  readonly disco: boolean;
  /** When it was put into a queue. */
  queuedAt: number;
}

/** What a packet in a queue takes beside its frame. */
const PACKET_OVERHEAD = 128;

/** A FIFO of at most `depth` packets that makes room at its head: in a relay, the oldest packet is the one worth least. */
export class PacketQueue {
  private ring: (OutboundPacket | undefined)[] = [];
  private head = 0;
  private count = 0;
  private held = 0;

  /** What its packets take. */
  get bytes(): number {
    return this.held;
  }

  get length(): number {
    return this.count;
  }

  /** Appends. Returns the packet that had to go: the oldest, or, at depth 0, the new one itself. */
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
      // An idle connection holds no ring.
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
