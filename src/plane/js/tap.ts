import type { NodeKey } from '../../protocol/key.js';
import type { DropReason, PacketKind } from '../counters.js';
import type { PacketTap, TapBatch, TapFrame, TapOptions } from '../plane.js';
import { TAP_BATCH_BYTES, TAP_BATCHES, TapStream } from '../tap.js';

/** Memory of a frame beside its bytes. */
const FRAME_BYTES = 88;
/** Milliseconds that a frame may wait for others. */
const COALESCE = 10;

/** The batch that is being filled, and the memory of its bytes. */
interface Filling {
  readonly memory: ArrayBuffer;
  used: number;
  readonly frames: TapFrame[];
}

/** The tap of the JavaScript plane: copies packets into a bounded number of batches. */
export class JsTap {
  private readonly stream: TapStream;
  private filling: Filling | undefined;
  private readonly full: Filling[] = [];
  private missed = 0;
  /** Batches in use: being filled, waiting, or held by the reader. */
  private out = 0;
  private timer: NodeJS.Timeout | undefined;
  /** Counts a batch back if the reader dropped it without a release. */
  private readonly forgotten = new FinalizationRegistry(() => {
    this.out -= 1;
  });

  constructor(
    private readonly options: TapOptions,
    onStop: () => void,
  ) {
    this.stream = new TapStream(
      () => this.fetch(),
      () => {
        clearTimeout(this.timer);
        onStop();
      },
    );
  }

  get packets(): PacketTap {
    return this.stream;
  }

  record(source: NodeKey, destination: NodeKey, kind: PacketKind, packet: Uint8Array, dropped?: DropReason): void {
    const { key, snapLength } = this.options;
    if (key !== undefined && source !== key && destination !== key) return;
    const captured = packet.subarray(0, snapLength);
    const filling = this.room(FRAME_BYTES + captured.length);
    if (!filling) {
      this.missed += 1;
      return;
    }
    const bytes = new Uint8Array(filling.memory, filling.used + FRAME_BYTES, captured.length);
    bytes.set(captured);
    filling.used += FRAME_BYTES + captured.length;
    const frame = { time: Date.now(), source, destination, kind, length: packet.length, bytes };
    filling.frames.push(dropped === undefined ? frame : { ...frame, dropped });
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.stream.notify();
    }, COALESCE).unref();
  }

  private room(needed: number): Filling | undefined {
    if (this.filling && this.filling.used + needed > TAP_BATCH_BYTES) {
      this.full.push(this.filling);
      this.filling = undefined;
    }
    if (!this.filling && this.out < TAP_BATCHES) {
      this.out += 1;
      this.filling = { memory: new ArrayBuffer(TAP_BATCH_BYTES), used: 0, frames: [] };
    }
    return this.filling;
  }

  private fetch(): TapBatch | undefined {
    const taken = this.full.shift() ?? this.filling;
    if (taken === this.filling) this.filling = undefined;
    if (!taken) return undefined;
    const { frames, memory } = taken;
    const token = {};
    const batch = { frames, missed: this.missed, release: () => this.release(token, memory) };
    this.missed = 0;
    this.forgotten.register(batch, undefined, token);
    return batch;
  }

  private release(token: object, memory: ArrayBuffer): void {
    if (!this.forgotten.unregister(token)) return;
    this.out -= 1;
    // Detaches the memory, as the native plane does: a reader that keeps the frames sees empty bytes.
    structuredClone(memory, { transfer: [memory] });
  }
}
