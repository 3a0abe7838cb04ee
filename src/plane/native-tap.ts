/** Reads the batches of the native plane's tap. `crates/derp-net/src/state/tap.rs` documents their layout. */
import { type NodeKey, readNodeKey } from '../protocol/key.js';
import { KEY_LENGTH } from '../protocol/wire.js';
import { DROP_REASONS, PACKET_KINDS } from './counters.js';
import type { TapBatch, TapFrame } from './plane.js';

const SLAB_HEAD = 8;
const PACKET_HEAD = 24 + 2 * KEY_LENGTH;

/** Makes a batch that reads the slab in place. `release` returns the slab; it is called once. */
export function tapBatch(slab: ArrayBuffer, release: (slab: ArrayBuffer) => void): TapBatch {
  const bytes = Buffer.from(slab);
  const frames: TapFrame[] = [];
  for (let at = SLAB_HEAD; at < bytes.length; ) {
    const captured = bytes.readUInt32LE(at + 12);
    frames.push(frame(bytes, at, captured));
    at += PACKET_HEAD + captured;
  }
  let released = false;
  return {
    frames,
    missed: bytes.readDoubleLE(0),
    release: () => {
      if (released) return;
      released = true;
      release(slab);
    },
  };
}

function frame(bytes: Buffer, at: number, captured: number): TapFrame {
  const dropped = DROP_REASONS[(bytes[at + 17] as number) - 1];
  const keyAt = at + PACKET_HEAD - 2 * KEY_LENGTH;
  return {
    time: bytes.readDoubleLE(at),
    source: key(bytes, keyAt),
    destination: key(bytes, keyAt + KEY_LENGTH),
    kind: PACKET_KINDS[bytes[at + 16] as number] as TapFrame['kind'],
    length: bytes.readUInt32LE(at + 8),
    bytes: bytes.subarray(at + PACKET_HEAD, at + PACKET_HEAD + captured),
    ...(dropped !== undefined && { dropped }),
  };
}

function key(bytes: Buffer, at: number): NodeKey {
  return readNodeKey(bytes, at);
}
