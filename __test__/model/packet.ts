/** Packets that say who sent them as the how manieth, and whose every byte is known. */
import { forwardPacketFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import type { NodeKey } from '../../src/protocol/key.js';
import { DISCO_MAGIC, MAX_PACKET_LENGTH, MIN_DISCO_LENGTH } from '../../src/protocol/wire.js';
import { seeded } from '../helpers/random.js';

export type Kind = 'disco' | 'data';

/** Who sent a packet, as the how manieth of its own, and as what. */
export interface Label {
  /** Number of the connection that sent it. */
  readonly sender: number;
  readonly sequence: number;
  readonly kind: Kind;
}

const LABEL_LENGTH = 8;
/** What all packets are filled from, each from another offset. */
const OFFSETS = 251;
const PATTERN = pattern(MAX_PACKET_LENGTH + OFFSETS);

/** A packet; shorter than a label it has none. Discovery is never shorter than discovery has to be. */
export function labelled({ sender, sequence, kind }: Label, length: number): Buffer {
  const labelAt = kind === 'disco' ? DISCO_MAGIC.length : 0;
  const packet = Buffer.allocUnsafe(kind === 'disco' ? Math.max(length, MIN_DISCO_LENGTH) : length);
  const offset = packet.length < labelAt + LABEL_LENGTH ? 0 : sequence % OFFSETS;
  PATTERN.copy(packet, 0, offset, offset + packet.length);
  if (kind === 'disco') packet.set(DISCO_MAGIC);
  if (packet.length >= labelAt + LABEL_LENGTH) {
    packet.writeUInt32BE(sender, labelAt);
    packet.writeUInt32BE(sequence, labelAt + 4);
  }
  return packet;
}

/** The label of a packet that came; `undefined` for one too short to have any. Throws if a byte of it is wrong. */
export function labelOf(packet: Buffer): Label | undefined {
  const kind = packet.length >= MIN_DISCO_LENGTH && packet.indexOf(DISCO_MAGIC) === 0 ? 'disco' : 'data';
  const labelAt = kind === 'disco' ? DISCO_MAGIC.length : 0;
  if (packet.length < labelAt + LABEL_LENGTH) {
    if (packet.compare(PATTERN, 0, packet.length) !== 0)
      throw new Error('a short packet has other bytes than were sent');
    return undefined;
  }
  const sender = packet.readUInt32BE(labelAt);
  const sequence = packet.readUInt32BE(labelAt + 4);
  const from = labelAt + LABEL_LENGTH;
  const offset = sequence % OFFSETS;
  if (packet.compare(PATTERN, offset + from, offset + packet.length, from) !== 0) {
    throw new Error(`packet ${sequence} of connection ${sender} has other bytes than were sent`);
  }
  return { sender, sequence, kind };
}

export function sendFrame(to: NodeKey, label: Label, length: number): Buffer {
  return sendPacketFrame(to, labelled(label, length));
}

export function forwardFrame(from: NodeKey, to: NodeKey, label: Label, length: number): Buffer {
  return forwardPacketFrame(from, to, labelled(label, length));
}

function pattern(length: number): Buffer {
  const random = seeded(length);
  return Buffer.from(Array.from({ length }, () => random() * 256));
}
