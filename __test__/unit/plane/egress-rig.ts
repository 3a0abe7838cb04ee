/** An egress between a transport that takes what it is told to take, and an owner that remembers what it was told. */
import type { Duplex } from 'node:stream';
import type { PlaneContext } from '../../../src/plane/js/context.js';
import { CLIENT, Egress, type EgressKind, type EgressOwner } from '../../../src/plane/js/egress.js';
import type { OutboundPacket } from '../../../src/plane/js/queue.js';
import { encodeFrame, recvPacketFrame } from '../../../src/protocol/frame.js';
import type { NodeKey } from '../../../src/protocol/key.js';
import { FrameType } from '../../../src/protocol/wire.js';
import { contextWith, GatedStream, keyOf, type PolicyChanges, settled } from './context.js';

export const ALICE = keyOf(1);
/** What may be in the stream at once. */
export const WINDOW = 64 << 10;

export class Owner implements EgressOwner {
  key: NodeKey | undefined;
  kind: EgressKind = CLIENT;
  readonly sent: NodeKey[] = [];
  readonly armed: number[] = [];
  readonly calls: string[] = [];

  onSent(source: NodeKey): void {
    this.sent.push(source);
  }
  onWriteTimeout(): void {
    this.calls.push('timeout');
  }
  onControlOverflow(): void {
    this.calls.push('overflow');
  }
  onOverBudget(): void {
    this.calls.push('over budget');
  }
  onPulled(): void {
    this.calls.push('pulled');
  }
  armAt(when: number): void {
    this.armed.push(when);
  }
  fail(): void {
    this.calls.push('failed');
  }
}

export interface Rig {
  readonly stream: GatedStream;
  readonly context: PlaneContext;
  readonly owner: Owner;
  readonly egress: Egress;
}

export function rig(changes: PolicyChanges = {}, kind: EgressKind = CLIENT): Rig {
  const stream = new GatedStream();
  const { context } = contextWith(changes);
  const owner = new Owner();
  owner.kind = kind;
  return { stream, context, owner, egress: new Egress(stream as unknown as Duplex, context, owner) };
}

/** A transport with a packet, number 0, that fills the window and does not leave. */
export async function stuck(changes: PolicyChanges = {}): Promise<Rig> {
  const made = rig(changes);
  made.egress.packet(packet(0, WINDOW));
  await settled();
  return made;
}

/** The number is in its first four bytes, the kind in the source's last. */
export function packet(number: number, size = 4, disco = false): OutboundPacket {
  const payload = Buffer.alloc(size);
  payload.writeUInt32BE(number);
  const source = disco ? keyOf(255) : ALICE;
  return { frame: recvPacketFrame(source, payload), payload: size, source, disco, queuedAt: 0 };
}

export function control(number: number): Buffer {
  const body = Buffer.alloc(4);
  body.writeUInt32BE(number);
  return encodeFrame(FrameType.Health, body);
}
