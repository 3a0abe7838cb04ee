import type { Duplex } from 'node:stream';
import type { NodeKey } from '../../protocol/key.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, PeerGoneReason } from '../../protocol/wire.js';
import type { DropReason } from '../counters.js';
import type { PlanePolicy } from '../plane.js';
import type { Share } from './budget.js';
import type { QueueHolder } from './budgets.js';
import type { PlaneContext } from './context.js';
import { type OutboundPacket, PacketQueue } from './queue.js';
import { Wheel } from './wheel.js';

/**
 * What may be under way in the stream at once. A read brings at most this much, so that the packets of one read never
 * push each other out of an idle receiver's queue.
 */
const WINDOW = 64 << 10;

const NOTHING: Buffer[] = [];

/** What is not the same for a client, a mesh peer that has connected to us, and a link of ours. */
export interface EgressKind {
  queueDepth(policy: PlanePolicy): number;
  /** How long nothing may leave; 0 is for ever. */
  writeDeadline(deadlines: PlanePolicy['deadlines']): number;
  /**
   * Names of what is dropped: for want of room, of any queue, because the connection has ended, half written, and for want
   * of room in all queues together.
   */
  readonly reasons: Readonly<Record<'full' | 'none' | 'ended' | 'broken' | 'crowded', DropReason>>;
  /** Whether the counters are about it; those of links stand in the snapshot alone. */
  readonly counted: boolean;
}

const REASONS = {
  full: 'queue_head',
  none: 'queue_tail',
  ended: 'gone_disconnected',
  broken: 'write_error',
  crowded: 'over_budget',
} as const;
export const CLIENT: EgressKind = {
  queueDepth: ({ queueDepth }) => queueDepth,
  writeDeadline: ({ write }) => write,
  reasons: REASONS,
  counted: true,
};
export const MESH_PEER: EgressKind = { ...CLIENT, writeDeadline: ({ meshWrite }) => meshWrite };
export const LINK: EgressKind = {
  queueDepth: ({ linkQueueDepth }) => linkQueueDepth,
  writeDeadline: ({ linkWrite }) => linkWrite,
  reasons: {
    full: 'mesh_queue',
    none: 'mesh_queue',
    ended: 'mesh_down',
    broken: 'mesh_down',
    crowded: 'over_budget',
  },
  counted: false,
};

/** Who the egress belongs to. */
export interface EgressOwner {
  /** Whose packets these are, once that is known. */
  readonly key?: NodeKey | undefined;
  readonly kind: EgressKind;
  /** A packet of `source` is on its way. */
  onSent(source: NodeKey): void;
  onWriteTimeout(): void;
  onControlOverflow(): void;
  /** It has the most of all that is queued, and no packet to lose. */
  onOverBudget(): void;
  /** Less than half of the permitted control bytes is queued, after `pull` was asked for. */
  onPulled(): void;
  /** Arms a visit of {@link Egress.onTime}. */
  armAt(when: number): void;
  /** Ends it: something of its own has failed. */
  fail(): void;
}

/**
 * The way out of one connection: a window of at most {@link WINDOW} bytes (or one larger frame) in the stream, and behind
 * it control frames, a pong, and the two packet queues. The queues are where a slow receiver shows: what they drop is
 * ours to decide and to count, where a stream would just grow.
 */
export class Egress {
  private readonly disco = new PacketQueue();
  private readonly regular = new PacketQueue();
  private control: Buffer[] = NOTHING;
  private controlBytes = 0;
  private pulling = false;
  /** A mailbox: while a pong waits, further pings get none. */
  private pong: Buffer | undefined;

  /** Frames for the next write, which happens at the end of this turn. */
  private batch: Buffer[] = NOTHING;
  private batchPackets: OutboundPacket[] = [];
  private batchBytes = 0;
  private scheduled = false;
  /** Written to the stream, not yet taken by the kernel. */
  private readonly written: OutboundPacket[][] = [];
  private writtenBytes = 0;
  private closed = false;
  /** Set once nothing more is taken: called when everything that waits has left. */
  private left: (() => void) | undefined;

  /** Since when nothing has left, and what was left to leave then. */
  private progressAt = 0;
  private pendingAt = 0;
  private watching = false;

  /** Of the budget of what is queued. */
  private share: Share<QueueHolder> | undefined;

  /** Whether writes are counted: those of the login are not. */
  counting = false;

  /** Packets and payload bytes that the kernel took, and packets dropped here. */
  readonly stats = { packets: 0, bytes: 0, dropped: 0 };

  constructor(
    private readonly stream: Duplex,
    private readonly context: PlaneContext,
    private readonly owner: EgressOwner,
  ) {}

  get queuedPackets(): number {
    return this.disco.length + this.regular.length;
  }

  packet(packet: OutboundPacket): void {
    if (this.closed || this.left) {
      this.drop('ended', packet);
    } else if (this.open && this.queuedPackets === 0 && this.control.length === 0) {
      this.waited(0);
      this.commit(packet);
      this.schedule();
    } else {
      const queue = packet.disco ? this.disco : this.regular;
      const depth = this.owner.kind.queueDepth(this.context.policy);
      packet.queuedAt = Wheel.now();
      packet.frame = ownBytes(packet.frame);
      const evicted = queue.push(packet, depth);
      if (evicted) {
        this.waited(packet.queuedAt - evicted.queuedAt);
        this.drop(depth > 0 ? 'full' : 'none', evicted);
      }
      if (this.open) this.schedule();
      this.settle();
    }
  }

  /** Queues whole control frames, ahead of packets. */
  frames(frames: Buffer, pull = false): void {
    if (this.closed || this.left) return;
    this.pulling ||= pull;
    if (this.controlBytes + frames.length > this.context.policy.limits.controlBytes) {
      this.owner.onControlOverflow();
      return;
    }
    if (this.control === NOTHING) this.control = [];
    this.control.push(frames);
    this.controlBytes += frames.length;
    this.schedule();
    if (!this.open) this.settle();
  }

  /** Drops its oldest packets, discovery last, until so many bytes are free. */
  shed(bytes: number): void {
    const before = this.queuedBytes;
    while (before - this.queuedBytes < bytes) {
      const packet = this.regular.shift() ?? this.disco.shift();
      if (!packet) break;
      this.waited(Wheel.now() - packet.queuedAt);
      this.drop('crowded', packet);
    }
    this.note();
    if (before === 0) this.owner.onOverBudget();
  }

  sendPong(frame: Buffer): void {
    if (this.closed || this.left || this.pong) return;
    this.pong = frame;
    this.schedule();
  }

  /** Whether anything has not been taken by the kernel. */
  get waits(): boolean {
    const waiting = this.batch.length + this.written.length + this.control.length + this.queuedPackets;
    return !this.closed && (waiting > 0 || this.pong !== undefined);
  }

  /** Takes nothing more; `left` is called when what waits has left. */
  leave(left: () => void): void {
    this.left = left;
    this.pulling = false;
  }

  /** Counts everything that will not leave any more. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const packet of this.written.flat()) this.drop('broken', packet);
    for (const packet of this.batchPackets) this.drop('ended', packet);
    for (const queue of [this.disco, this.regular]) {
      for (let packet = queue.shift(); packet; packet = queue.shift()) this.drop('ended', packet);
    }
    this.written.length = 0;
    this.batchPackets = [];
    this.batch = NOTHING;
    this.control = NOTHING;
    this.pong = undefined;
    this.share = this.context.budgets.queued.set(this.share, this, 0);
  }

  /** Ends the connection if nothing has left for too long. Returns when to look again. */
  onTime(now: number): number {
    const limit = this.stallLimit();
    if (this.writtenBytes === 0 || limit === 0) {
      this.watching = false;
      return Number.POSITIVE_INFINITY;
    }
    const pending = pendingBytes(this.stream);
    if (pending !== this.pendingAt) {
      this.pendingAt = pending;
      this.progressAt = now;
    }
    if (now - this.progressAt >= limit) {
      if (this.owner.kind.counted) this.context.counters.add('write_timeouts');
      this.owner.onWriteTimeout();
      return Number.POSITIVE_INFINITY;
    }
    return now + limit / 4;
  }

  private get open(): boolean {
    return this.writtenBytes + this.batchBytes < WINDOW;
  }

  private schedule(): void {
    if (this.scheduled || this.closed) return;
    this.scheduled = true;
    process.nextTick(() => {
      this.scheduled = false;
      this.guard(() => this.flush());
    });
  }

  private guard(act: () => void): void {
    this.context.barrier.run('a write', act, () => this.owner.fail());
  }

  /**
   * Writes what there is now, not at the end of the turn. Fills the window in order of worth: control, pong, discovery
   * (it ends the need for relaying), the rest.
   */
  flush(): void {
    if (this.closed) return;
    while (this.open && this.control.length > 0) this.commitControl(this.control.shift() as Buffer);
    if (this.pong && this.open) {
      this.put(this.pong);
      this.pong = undefined;
      if (this.owner.kind.counted) this.context.counters.add('sent_pong');
    }
    for (const queue of [this.disco, this.regular]) {
      while (this.open) {
        const packet = queue.shift();
        if (!packet) break;
        this.waited(Wheel.now() - packet.queuedAt);
        this.commit(packet);
      }
    }
    if (this.pulling && this.controlBytes < this.context.policy.limits.controlBytes / 2) {
      this.pulling = false;
      this.owner.onPulled();
    }
    if (this.batch.length > 0) this.write();
  }

  private write(): void {
    const { batch: frames, batchPackets: packets, batchBytes: bytes } = this;
    this.batch = NOTHING;
    this.batchPackets = [];
    this.batchBytes = 0;
    if (this.writtenBytes === 0) this.progressAt = Wheel.now();
    this.writtenBytes += bytes;
    this.written.push(packets);
    if (this.counting) this.context.counters.wrote(frames.length);
    if (this.owner.kind.counted) this.context.queueTime.show();
    const last = frames.length - 1;
    this.stream.cork();
    frames.forEach((frame, index) => {
      if (index < last) this.stream.write(frame);
      else this.stream.write(frame, (error) => this.guard(() => this.onWritten(error, packets, bytes)));
    });
    this.stream.uncork();
    this.watch();
    // Most streams have taken it by now.
    if (this.stream.writableLength > 0) this.settle();
  }

  private onWritten(error: Error | null | undefined, packets: OutboundPacket[], bytes: number): void {
    // A failed write ends the stream, and with it this egress, which counts what was under way.
    if (error || this.closed) return;
    this.written.shift();
    this.writtenBytes -= bytes;
    this.progressAt = Wheel.now();
    const payload = packets.reduce((sum, packet) => sum + packet.payload, 0);
    this.stats.packets += packets.length;
    this.stats.bytes += payload;
    if (this.owner.kind.counted) {
      this.context.counters.add('packets_sent', packets.length);
      this.context.counters.add('bytes_sent', payload);
    }
    this.flush();
    if (!this.waits) this.left?.();
    if (this.share) this.note();
  }

  private get queuedBytes(): number {
    return this.disco.bytes + this.regular.bytes;
  }

  /** Notes what waits here. */
  private note(): void {
    const held = this.closed ? 0 : this.writtenBytes + this.batchBytes + this.controlBytes + this.queuedBytes;
    this.share = this.context.budgets.queued.set(this.share, this, held);
  }

  /** The same after it has become more: it may be too much now. */
  private settle(): void {
    this.note();
    this.context.budgets.queued.relieve();
  }

  private watch(): void {
    const limit = this.stallLimit();
    if (this.watching || limit === 0) return;
    this.watching = true;
    this.owner.armAt(Wheel.now() + limit / 4);
  }

  private commit(packet: OutboundPacket): void {
    this.put(packet.frame);
    this.batchPackets.push(packet);
    this.owner.onSent(packet.source);
  }

  private commitControl(frames: Buffer): void {
    this.controlBytes -= frames.length;
    if (this.control.length === 0) this.control = NOTHING;
    this.put(frames);
    for (let at = 0; at < frames.length; at += HEADER_LENGTH + frames.readUInt32BE(at + 1)) {
      if (frames[at] !== FrameType.PeerGone) continue;
      const notHere = frames[at + HEADER_LENGTH + KEY_LENGTH] === PeerGoneReason.NotHere;
      this.context.counters.add(notHere ? 'peer_gone_not_here_frames' : 'peer_gone_disconnected_frames');
    }
  }

  private put(bytes: Buffer): void {
    if (this.batch === NOTHING) this.batch = [];
    this.batch.push(bytes);
    this.batchBytes += bytes.length;
  }

  private waited(milliseconds: number): void {
    if (this.owner.kind.counted) this.context.queueTime.waited(milliseconds);
  }

  private drop(why: keyof EgressKind['reasons'], packet: OutboundPacket): void {
    this.stats.dropped += 1;
    const { key, kind } = this.owner;
    const reason = kind.reasons[why];
    this.context.counters.dropped(reason, packet.disco ? 'disco' : 'other', packet.payload);
    if (key !== undefined && this.context.policy.watchedDrops.includes(key)) {
      this.context.events.dropped(packet.source, key, reason);
    }
  }

  /**
   * How long nothing may leave; 0 is for ever. Node cannot set TCP_USER_TIMEOUT, so a peer that acknowledges nothing is
   * found by the same watch.
   */
  private stallLimit(): number {
    const { deadlines, tcp } = this.context.policy;
    const write = this.owner.kind.writeDeadline(deadlines);
    if (write === 0 || tcp.userTimeout === 0) return Math.max(write, tcp.userTimeout);
    return Math.min(write, tcp.userTimeout);
  }
}

/** What waits keeps its own bytes only, and not the whole chunk that they came with. */
function ownBytes(frame: Buffer): Buffer {
  if (2 * frame.length > frame.buffer.byteLength) return frame;
  const own = Buffer.allocUnsafeSlow(frame.length);
  frame.copy(own);
  return own;
}

/**
 * Bytes that have not left the process. A write of many frames completes as one, so its completion alone would cut a slow
 * reader that does make progress; Node's own socket timeouts look at the same figure. Under TLS it is the inner socket's.
 */
function pendingBytes(stream: Duplex): number {
  const { _handle: handle } = stream as {
    _handle?: { writeQueueSize?: number; _parent?: { writeQueueSize?: number } };
  };
  return handle?._parent?.writeQueueSize ?? handle?.writeQueueSize ?? stream.writableLength;
}
