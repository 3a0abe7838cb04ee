/** What a tap of the data plane gives: copies of packets, while somebody looks at them. Part of `plane.ts`, whose rules hold. */
import type { NodeKey } from '../protocol/key.js';
import type { DropReason, PacketKind } from './counters.js';

/** What a tap copies. */
export interface TapOptions {
  /** Only packets from or to this key. */
  readonly key?: NodeKey;
  /** Bytes copied of each packet, from 0 on. */
  readonly snapLength: number;
}

/**
 * Batches, until `stop`, the end of the plane, or of a loop over them; what has not been read by then is lost. The memory
 * that they lie in is bounded: whoever holds on to it misses packets, and delays none.
 */
export interface PacketTap extends AsyncIterable<TapBatch> {
  /** Ends the tap and its loops. Idempotent. */
  stop(): void;
}

/** Packets, those of one connection to one other in their order. Told within 20 ms of the first. */
export interface TapBatch {
  /** Its packets. */
  readonly frames: readonly TapFrame[];
  /** Packets passed over since the last batch, because batches were not released in time. */
  readonly missed: number;
  /** Gives the memory back: the frames' bytes are empty afterwards. A batch that is forgotten is given back some time. */
  release(): void;
}

/** One packet that the plane has read. */
export interface TapFrame {
  /** When it was read, in milliseconds since the epoch. */
  readonly time: number;
  /** The key of the client that sent it. */
  readonly source: NodeKey;
  /** The key that it is for. */
  readonly destination: NodeKey;
  /** Discovery, or any other. */
  readonly kind: PacketKind;
  /** Whole length of the packet in bytes; `bytes` may be shorter. */
  readonly length: number;
  /** Its first bytes, at most {@link TapOptions.snapLength}; empty once the batch is released. */
  readonly bytes: Uint8Array;
  /** Set for a packet that nobody could be sent. What a slow receiver's queue drops later, only counters tell. */
  readonly dropped?: DropReason;
}
