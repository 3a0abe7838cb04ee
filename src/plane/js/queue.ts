import type { NodeKey } from '../../protocol/key.js';
import { Codel } from './codel.js';
import { type DrainRate, FULL_PACKET } from './drain-rate.js';

/** An outbound packet and its facts. */
export interface OutboundPacket {
  /** A whole frame: RecvPacket to a client, ForwardPacket to another relay. */
  frame: Buffer;
  /** Length of the packet alone, without keys and header. */
  readonly payload: number;
  readonly source: NodeKey;
  readonly disco: boolean;
  /** When it entered a queue, in whole microseconds. */
  queuedAt: number;
}

/** Memory of a queued packet beside its frame. */
const PACKET_OVERHEAD = 128;

/** Bytes that a source may send in its turn. */
const QUANTUM = FULL_PACKET;

/** The packets of one source, and its turn. */
interface Flow {
  readonly source: NodeKey;
  readonly packets: { readonly packet: OutboundPacket; readonly number: number }[];
  bytes: number;
  /** What its turn has left; negative if it has taken more. */
  deficit: number;
  readonly codel: Codel;
}

/**
 * What waits for one destination, of one kind: packets of several sources, none of which delays the packets of another
 * (deficit round robin by bytes, new sources first, as in RFC 8290), and none of which stands for long ({@link Codel}). The
 * order of each source's packets stays. At most `depth` packets wait. Times are whole microseconds.
 */
export class PacketQueue {
  private flows: Map<NodeKey, Flow> | undefined;
  /** Flows in the order of their turns. Sources that have just come are first, until they have had a turn. */
  private fresh: Flow[] = [];
  private old: Flow[] = [];
  private count = 0;
  private held = 0;
  /** Counts all packets, so that of two sources the one with the older packet is known. */
  private number = 0;

  /** Memory that its packets take. */
  get bytes(): number {
    return this.held;
  }

  get length(): number {
    return this.count;
  }

  /**
   * Appends a packet. Returns the dropped packet: the oldest of the source with the most bytes, or, at depth 0, the new one
   * itself. A queue that is longer than a new depth shrinks as it drains.
   */
  push(packet: OutboundPacket, depth: number): OutboundPacket | undefined {
    if (depth <= 0) return packet;
    const flow = this.flows?.get(packet.source) ?? this.begin(packet.source, depth);
    this.number += 1;
    flow.packets.push({ packet, number: this.number });
    flow.bytes += packet.frame.length;
    this.count += 1;
    this.held += packet.frame.length + PACKET_OVERHEAD;
    return this.count > depth ? this.evict() : undefined;
  }

  /** Takes the next packet. `dropped` gets those in front of it that are too old. */
  shift(rate: DrainRate, now: number, dropped: (packet: OutboundPacket) => void): OutboundPacket | undefined {
    for (;;) {
      const isFresh = this.fresh.length > 0;
      const turns = isFresh ? this.fresh : this.old;
      const [flow] = turns;
      if (!flow) return undefined;
      if (flow.deficit <= 0) {
        flow.deficit += QUANTUM;
        turns.shift();
        this.old.push(flow);
        continue;
      }
      const next = this.nextOf(flow, rate, now, dropped);
      if (next) {
        flow.deficit -= next.frame.length;
        rate.leaves(next.frame.length);
        this.forgetIfEmpty();
        return next;
      }
      turns.shift();
      // A source that is new each time would be first each time. It has to wait for one turn of the others.
      if (isFresh && this.old.length > 0) this.old.push(flow);
      else this.flows?.delete(flow.source);
    }
  }

  /** Takes the oldest packet of the source with the most bytes; of several, of the source whose packet is older. */
  evict(): OutboundPacket | undefined {
    let largest: Flow | undefined;
    for (const flow of this.flows?.values() ?? []) {
      if (flow.packets.length > 0 && (!largest || isLarger(flow, largest))) largest = flow;
    }
    const evicted = largest && this.take(largest);
    this.forgetIfEmpty();
    return evicted;
  }

  /** Takes everything, by source. */
  drain(): OutboundPacket[] {
    const all = [...(this.flows?.values() ?? [])].flatMap(({ packets }) => packets.map(({ packet }) => packet));
    this.count = 0;
    this.held = 0;
    this.forgetIfEmpty();
    return all;
  }

  private nextOf(
    flow: Flow,
    rate: DrainRate,
    now: number,
    dropped: (packet: OutboundPacket) => void,
  ): OutboundPacket | undefined {
    const { packets, codel } = flow;
    for (let head = packets[0]; head; head = packets[0]) {
      const { frame, queuedAt } = head.packet;
      if (!rate.judges(queuedAt)) {
        codel.rest();
        return this.take(flow);
      }
      if (!codel.drops(queuedAt, packets.length === 1, rate.target(frame.length), now)) return this.take(flow);
      dropped(this.take(flow) as OutboundPacket);
    }
    codel.rest();
    return undefined;
  }

  private take(flow: Flow): OutboundPacket | undefined {
    const packet = flow.packets.shift()?.packet;
    if (!packet) return undefined;
    flow.bytes -= packet.frame.length;
    this.count -= 1;
    this.held -= packet.frame.length + PACKET_OVERHEAD;
    return packet;
  }

  private begin(source: NodeKey, depth: number): Flow {
    this.flows ??= new Map();
    // Sources without packets keep their turn, but their number is bounded.
    if (this.flows.size >= 2 * depth) this.forgetOne(this.flows);
    const flow: Flow = { source, packets: [], bytes: 0, deficit: QUANTUM, codel: new Codel() };
    this.flows.set(source, flow);
    this.fresh.push(flow);
    return flow;
  }

  /** The source without packets whose turn comes first loses it. */
  private forgetOne(flows: Map<NodeKey, Flow>): void {
    for (const turns of [this.old, this.fresh]) {
      const at = turns.findIndex(({ packets }) => packets.length === 0);
      const [flow] = at < 0 ? [] : turns.splice(at, 1);
      if (flow) {
        flows.delete(flow.source);
        return;
      }
    }
  }

  /** An empty queue holds no memory, so idle connections stay small. */
  private forgetIfEmpty(): void {
    if (this.count > 0 || !this.flows) return;
    this.flows = undefined;
    this.fresh = [];
    this.old = [];
  }
}

function isLarger(flow: Flow, than: Flow): boolean {
  if (flow.bytes !== than.bytes) return flow.bytes > than.bytes;
  return (flow.packets[0]?.number ?? 0) < (than.packets[0]?.number ?? 0);
}
