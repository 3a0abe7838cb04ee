import type { Duplex } from 'node:stream';
import type { NodeKey } from '../../protocol/key.js';
import { FrameType, HEADER_LENGTH, KEY_LENGTH, PeerGoneReason } from '../../protocol/wire.js';
import type { DropReason } from '../counters.js';
import type { PlanePolicy } from '../plane.js';
import { Backlog, NO_FIGURES, waitOf } from './backlog.js';
import type { Share } from './budget.js';
import type { QueueHolder } from './budgets.js';
import type { PlaneContext } from './context.js';
import { ownBytes } from './own-bytes.js';
import type { OutboundPacket } from './queue.js';
import { Wheel } from './wheel.js';

/**
 * The most bytes that may be in the stream at once. One read of a sender brings at most this many, so the packets of
 * one read never push each other out of an idle receiver's queue. Over a narrow link fewer may: see {@link Backlog.window}.
 */
const WINDOW = 64 << 10;

const NOTHING: Buffer[] = [];

/** How the egress of a client, of an inbound mesh peer and of a mesh link differ. */
export interface EgressKind {
  queueDepth(policy: PlanePolicy): number;
  /** How long writes may make no progress; 0 for no deadline. */
  writeDeadline(deadlines: PlanePolicy['deadlines']): number;
  /**
   * Drop reasons. `full`: the queue was full. `none`: the queue has depth 0. `late`: packets stood for too long. `ended`:
   * the connection ended. `broken`: a write was incomplete at the end. `crowded`: all queues together were full.
   */
  readonly reasons: Readonly<Record<'full' | 'none' | 'late' | 'ended' | 'broken' | 'crowded', DropReason>>;
  /** Whether writes count in the plane's counters. Those of links appear only in the snapshot. */
  readonly counted: boolean;
}

const REASONS = {
  full: 'queue_head',
  none: 'queue_tail',
  late: 'queue_age',
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
    late: 'queue_age',
    ended: 'mesh_down',
    broken: 'mesh_down',
    crowded: 'over_budget',
  },
  counted: false,
};

/** The connection or link that an egress sends for. */
export interface EgressOwner {
  /** The key of the receiver, once it is known. */
  readonly key?: NodeKey | undefined;
  readonly kind: EgressKind;
  /** A packet of `source` was handed to the stream. */
  onSent(source: NodeKey): void;
  onWriteTimeout(): void;
  onControlOverflow(): void;
  /** It holds the most of all queued bytes, and has no packet to drop. */
  onOverBudget(): void;
  /** Less than half of the permitted control bytes is queued, after a call with `pull`. */
  onPulled(): void;
  /** Arms a visit of {@link Egress.onTime}. */
  armAt(when: number): void;
  /** Ends the owner after a fault in its egress. */
  fail(): void;
}

/**
 * The sending side of one connection. A window of at most {@link WINDOW} bytes (or one larger frame) is in the stream.
 * Behind it wait control frames, a pong, and packets. The window keeps a slow receiver's packets in these
 * queues, where the plane drops and counts them; the stream itself would only grow.
 */
export class Egress {
  /** Absent until a packet has to wait. */
  private backlog: Backlog | undefined;
  private control: Buffer[] = NOTHING;
  private controlBytes = 0;
  private pulling = false;
  /** The pong that waits; until it leaves, further pings get no answer. */
  private pong: Buffer | undefined;

  /** Frames of the next write, which happens at the end of this turn. */
  private batch: Buffer[] = NOTHING;
  private batchPackets: OutboundPacket[] = [];
  private batchBytes = 0;
  private scheduled = false;
  /** Packets in the stream that the kernel has not taken. */
  private readonly written: OutboundPacket[][] = [];
  private writtenBytes = 0;
  /** Whether the system did not take all of it at once. */
  private isFull = false;
  private closed = false;
  /** Set by {@link leave}; called when everything queued has left. */
  private left: (() => void) | undefined;

  /** When writes last made progress, and how many bytes were pending then. */
  private progressAt = 0;
  private pendingAt = 0;
  private watching = false;

  /** Its share of the budget for queued bytes. */
  private share: Share<QueueHolder> | undefined;

  /** Whether writes are counted; those of the login are not. */
  counting = false;

  /** Packets and payload bytes that the kernel took, and packets dropped here. */
  readonly stats = { packets: 0, bytes: 0, dropped: 0 };

  constructor(
    private readonly stream: Duplex,
    private readonly context: PlaneContext,
    private readonly owner: EgressOwner,
  ) {}

  get queuedPackets(): number {
    return this.backlog?.length ?? 0;
  }

  /** What a snapshot shows of the queues. */
  queueFigures(): readonly number[] {
    this.forget(Wheel.now());
    return this.backlog?.figures() ?? NO_FIGURES;
  }

  packet(packet: OutboundPacket): void {
    if (this.closed || this.left) {
      this.drop('ended', packet);
    } else if (this.open && this.queuedPackets === 0 && this.control.length === 0) {
      this.waited(0);
      // It may stand in the stream for long, behind what the system has not taken.
      if (this.stream.writableLength > 0) packet.frame = ownBytes(packet.frame);
      this.commit(packet);
      this.schedule();
    } else {
      const depth = this.owner.kind.queueDepth(this.context.policy);
      this.backlog ??= this.begin();
      packet.frame = ownBytes(packet.frame);
      const evicted = this.backlog.push(packet, depth, Wheel.now());
      if (evicted) {
        this.waited(waitOf(evicted, Wheel.now()));
        this.drop(depth > 0 ? 'full' : 'none', evicted);
      }
      if (this.open) this.schedule();
      this.settle();
    }
  }

  /** Queues whole control frames, which leave before packets. */
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

  /** Drops packets, the oldest of the source that has the most, until `bytes` are free; discovery packets last. */
  shed(bytes: number): void {
    const before = this.queuedBytes;
    while (before - this.queuedBytes < bytes) {
      const packet = this.backlog?.evict();
      if (!packet) break;
      this.waited(waitOf(packet, Wheel.now()));
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

  /** Whether any data waits for the kernel to take it. */
  get waits(): boolean {
    const waiting = this.batch.length + this.written.length + this.control.length + this.queuedPackets;
    return !this.closed && (waiting > 0 || this.pong !== undefined);
  }

  /** Accepts no more data; calls `left` once the queued data has left. */
  leave(left: () => void): void {
    this.left = left;
    this.pulling = false;
  }

  /** Ends the egress, and counts every packet that it still holds as dropped. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const packet of this.written.flat()) this.drop('broken', packet);
    for (const packet of this.batchPackets) this.drop('ended', packet);
    for (const packet of this.backlog?.drain() ?? []) this.drop('ended', packet);
    this.backlog = undefined;
    this.written.length = 0;
    this.batchPackets = [];
    this.batch = NOTHING;
    this.control = NOTHING;
    this.pong = undefined;
    this.share = this.context.budgets.queued.set(this.share, this, 0);
  }

  /** Ends the connection if writes have made no progress for too long. Returns the time of the next check. */
  onTime(now: number): number {
    this.forget(now);
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
    // The clock of the wheel is exact enough, and costs nothing.
    const window = this.backlog?.window(WINDOW, this.context.wheel.time, this.isFull) ?? WINDOW;
    return this.writtenBytes + this.batchBytes < window;
  }

  private begin(): Backlog {
    const backlog = new Backlog();
    this.look(backlog);
    return backlog;
  }

  /** Looks whether the system takes what is in the stream. */
  private look(backlog: Backlog): void {
    this.isFull = this.writtenBytes > 0 && pendingBytes(this.stream) > 0;
    if (this.isFull) backlog.refused(Wheel.now());
  }

  private forget(now: number): void {
    if (this.backlog?.isForgotten(now)) this.backlog = undefined;
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
   * Writes at once, without waiting for the end of the turn. Fills the window by priority: control frames, pong,
   * discovery packets (they end the need for a relay), other packets.
   */
  flush(): void {
    if (this.closed) return;
    while (this.open && this.control.length > 0) this.commitControl(this.control.shift() as Buffer);
    if (this.pong && this.open) {
      this.put(this.pong);
      this.pong = undefined;
      if (this.owner.kind.counted) this.context.counters.add('sent_pong');
    }
    if (this.queuedPackets > 0) this.commitQueued(Wheel.now());
    if (this.pulling && this.controlBytes < this.context.policy.limits.controlBytes / 2) {
      this.pulling = false;
      this.owner.onPulled();
    }
    if (this.batch.length > 0) this.write();
  }

  private commitQueued(now: number): void {
    const late: OutboundPacket[] = [];
    while (this.open) {
      const packet = this.backlog?.shift(now, (old) => late.push(old));
      if (!packet) break;
      this.waited(waitOf(packet, now));
      this.commit(packet);
    }
    for (const packet of late) {
      this.waited(waitOf(packet, now));
      this.drop('late', packet);
    }
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
    if (this.backlog) this.look(this.backlog);
    this.watch();
    // Most streams have taken all bytes by now.
    if (this.stream.writableLength > 0) this.settle();
  }

  private onWritten(error: Error | null | undefined, packets: OutboundPacket[], bytes: number): void {
    // A failed write ends the stream and this egress, which counts the pending packets.
    if (error || this.closed) return;
    this.written.shift();
    this.writtenBytes -= bytes;
    this.progressAt = Wheel.now();
    if (this.isFull) {
      this.backlog?.refused(this.progressAt);
      this.isFull = this.written.length > 0;
    }
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
    return this.backlog?.bytes ?? 0;
  }

  /** Reports the held bytes to the budget. */
  private note(): void {
    const held = this.closed ? 0 : this.writtenBytes + this.batchBytes + this.controlBytes + this.queuedBytes;
    this.share = this.context.budgets.queued.set(this.share, this, held);
  }

  /** Reports the held bytes after they grew, and enforces the limit over all connections. */
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
    if (why !== 'ended' && why !== 'broken') this.backlog?.dropped(why);
    const { key, kind } = this.owner;
    const reason = kind.reasons[why];
    this.context.counters.dropped(reason, packet.disco ? 'disco' : 'other', packet.payload);
    if (key !== undefined && this.context.policy.watchedDrops.includes(key)) {
      this.context.events.dropped(packet.source, key, reason);
    }
  }

  /**
   * How long writes may make no progress; 0 for no deadline. Node cannot set TCP_USER_TIMEOUT, so this deadline also
   * detects a peer that acknowledges nothing.
   */
  private stallLimit(): number {
    const { deadlines, tcp } = this.context.policy;
    const write = this.owner.kind.writeDeadline(deadlines);
    if (write === 0 || tcp.userTimeout === 0) return Math.max(write, tcp.userTimeout);
    return Math.min(write, tcp.userTimeout);
  }
}

/**
 * Bytes that have not left the process. A write of many frames completes as a whole, so its completion alone would
 * close slow readers that do make progress. Node's socket timeouts read this figure, too. Under TLS it is the inner
 * socket's.
 */
function pendingBytes(stream: Duplex): number {
  const { _handle: handle } = stream as {
    _handle?: { writeQueueSize?: number; _parent?: { writeQueueSize?: number } };
  };
  return handle?._parent?.writeQueueSize ?? handle?.writeQueueSize ?? stream.writableLength;
}
