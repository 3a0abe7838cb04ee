/**
 * The tap of the data plane: copies of packets, made only while a reader wants them. Part of `plane.ts`, whose rules
 * apply here.
 */
import type { NodeKey } from '../protocol/key.js';
import type { DropReason, PacketKind } from './counters.js';

/** Which packets a tap copies, and how much of each. */
export interface TapOptions {
  /** Copies only packets from or to this key. */
  readonly key?: NodeKey;
  /** Bytes to copy of each packet; 0 or more. */
  readonly snapLength: number;
}

/**
 * An iterable of batches. It ends with `stop`, with the plane, or when a loop over it is left; unread batches are lost
 * then. Batches lie in bounded memory: a reader that keeps them misses packets, and delays none.
 */
export interface PacketTap extends AsyncIterable<TapBatch> {
  /** Ends the tap and the loops over it. May be called again. */
  stop(): void;
}

/**
 * A batch of packets, delivered within 20 ms of its first packet. Packets from one connection to another keep their
 * order.
 */
export interface TapBatch {
  /** The packets. */
  readonly frames: readonly TapFrame[];
  /** Packets that were not copied since the last batch, because the reader had not released batches. */
  readonly missed: number;
  /**
   * Returns the memory; the frames' bytes are empty afterwards. Garbage collection releases a forgotten batch at some
   * time.
   */
  release(): void;
}

/** One packet that the plane has read. */
export interface TapFrame {
  /** When the plane read it, in milliseconds since the epoch. */
  readonly time: number;
  /** The key of the client that sent it. */
  readonly source: NodeKey;
  /** The key of the client that it is addressed to. */
  readonly destination: NodeKey;
  /** Whether it is a discovery packet. */
  readonly kind: PacketKind;
  /** Whole length of the packet in bytes; `bytes` may be shorter. */
  readonly length: number;
  /** Its first bytes, at most {@link TapOptions.snapLength}; empty once the batch is released. */
  readonly bytes: Uint8Array;
  /**
   * Why the packet could not be forwarded; absent otherwise. Later drops from a slow receiver's queue appear only in
   * counters.
   */
  readonly dropped?: DropReason;
}
