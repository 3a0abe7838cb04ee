import { randomBytes } from 'node:crypto';
import { type FrameSink, maxBodyLength, ProtocolError } from '../../protocol/decode.js';
import { KEEP_ALIVE_FRAME, peerGoneFrame, pingFrame, pongFrame } from '../../protocol/frame.js';
import { isZeroKey, type NodeKey, nodeKeyBytes, readNodeKey } from '../../protocol/key.js';
import {
  FrameType,
  HEADER_LENGTH,
  KEY_LENGTH,
  looksLikeDisco,
  MAX_PING_LENGTH,
  type PeerGoneReason,
  PING_LENGTH,
} from '../../protocol/wire.js';
import type { Client, ForwardingContext } from './client.js';
import { Strays } from './strays.js';
import type { Entry } from './table.js';

const KEY_AT = HEADER_LENGTH;
const PACKET_AT = HEADER_LENGTH + KEY_LENGTH;

/** The frames of an admitted client: a packet's way through the JavaScript plane, top to bottom. */
export class Session implements FrameSink {
  readonly received = { packets: 0, bytes: 0 };
  private readonly keyBytes: Buffer;
  private home = false;
  private readonly strays: Strays;

  constructor(
    private readonly connection: Client,
    private readonly key: NodeKey,
    private readonly entry: Entry<Client>,
    private readonly context: ForwardingContext,
  ) {
    this.keyBytes = nodeKeyBytes(key);
    this.strays = new Strays(connection, key, context);
  }

  onHeader(type: number, length: number): boolean {
    this.context.table.activity(this.entry, this.connection);
    switch (type) {
      case FrameType.SendPacket:
        this.expect(length >= KEY_LENGTH && length <= maxBodyLength(type), 'SendPacket', length);
        return true;
      case FrameType.ForwardPacket:
        this.expectMesh('ForwardPacket');
        this.expect(length >= 2 * KEY_LENGTH && length <= maxBodyLength(type), 'ForwardPacket', length);
        return true;
      case FrameType.NotePreferred:
        this.expect(length === 1, 'NotePreferred', length);
        return true;
      case FrameType.WatchConns:
        this.expect(length === 0, 'WatchConns', length);
        this.expectMesh('WatchConns');
        return true;
      case FrameType.ClosePeer:
        this.expect(length === KEY_LENGTH, 'ClosePeer', length);
        this.expectMesh('ClosePeer');
        return true;
      case FrameType.Ping:
        this.context.counters.add('got_ping');
        this.expect(length >= PING_LENGTH && length <= MAX_PING_LENGTH, 'Ping', length);
        return true;
      default:
        if (type === FrameType.Pong) this.connection.onPong();
        // A frame of unknown type is skipped, unless it is longer than any known frame may be.
        this.expect(length <= maxBodyLength(type), `frame type ${type}`, length);
        return false;
    }
  }

  onFrame(type: number, frame: Buffer): void {
    const { connection } = this;
    switch (type) {
      case FrameType.SendPacket:
        this.onSendPacket(frame);
        break;
      case FrameType.ForwardPacket:
        this.onForwardPacket(frame);
        break;
      case FrameType.NotePreferred:
        this.onNotePreferred(frame[HEADER_LENGTH] !== 0);
        break;
      case FrameType.WatchConns:
        this.context.events.raise((to) => to.watch(connection.id));
        break;
      case FrameType.ClosePeer: {
        const target = readNodeKey(frame, KEY_AT);
        this.context.events.raise((to) => to.closePeer(connection.id, target));
        break;
      }
      case FrameType.Ping:
        connection.egress.sendPong(pongFrame(frame.subarray(HEADER_LENGTH)));
        break;
    }
  }

  keepAlive(): void {
    this.connection.egress.frames(KEEP_ALIVE_FRAME);
  }

  /** Pings the client; any frame that it sends next is its answer. */
  ping(): void {
    this.connection.egress.frames(pingFrame(randomBytes(PING_LENGTH)));
  }

  peerGone(key: NodeKey, reason: PeerGoneReason): void {
    this.connection.egress.frames(peerGoneFrame(key, reason));
  }

  private onSendPacket(frame: Buffer): void {
    const payload = frame.length - PACKET_AT;
    const disco = looksLikeDisco(frame, PACKET_AT, frame.length);
    this.received.packets += 1;
    this.received.bytes += payload;
    this.context.counters.add(disco ? 'packets_received:disco' : 'packets_received:other');
    this.context.counters.add('bytes_received', payload);
    const destination = readNodeKey(frame, KEY_AT);
    const to = this.context.table.lookup(destination);
    if (!to) {
      const packet = frame.subarray(PACKET_AT);
      const via = this.context.links.via(destination);
      if (via === undefined) this.strays.unknown({ source: this.key, destination, disco, packet });
      else this.strays.forward(destination, disco, packet, via);
      return;
    }
    this.context.tap?.record(this.key, destination, disco ? 'disco' : 'other', frame.subarray(PACKET_AT));
    // SendPacket and RecvPacket have equal lengths: with another type and key the frame is ready, in place.
    frame[0] = FrameType.RecvPacket;
    frame.set(this.keyBytes, KEY_AT);
    to.egress.packet({ frame, payload, source: this.key, disco, queuedAt: 0 });
  }

  /** A packet from a mesh peer: forwarded to a connection of this relay, never to another relay. */
  private onForwardPacket(frame: Buffer): void {
    this.context.counters.add('packets_forwarded_in');
    const source = readNodeKey(frame, KEY_AT);
    const destination = readNodeKey(frame, PACKET_AT);
    const packetAt = PACKET_AT + KEY_LENGTH;
    const payload = frame.length - packetAt;
    const disco = looksLikeDisco(frame, packetAt, frame.length);
    const to = this.context.table.lookup(destination);
    if (!to) {
      this.strays.forwarded({ source, destination, disco, packet: frame.subarray(packetAt) });
      return;
    }
    this.context.tap?.record(source, destination, disco ? 'disco' : 'other', frame.subarray(packetAt));
    to.egress.packet({ frame: forwarded(frame, source), payload, source, disco, queuedAt: 0 });
  }

  private onNotePreferred(home: boolean): void {
    if (home === this.home) return;
    this.home = home;
    this.context.events.prefer(this.connection.id, home);
  }

  private expect(condition: boolean, frame: string, length: number): void {
    if (!condition) throw new ProtocolError(`${frame} of ${length} bytes`);
  }

  private expectMesh(frame: string): void {
    if (!this.connection.mesh) throw new ProtocolError(`${frame} without mesh permission`);
  }
}

/** Turns a ForwardPacket into a RecvPacket in place: the source moves over the destination. */
function forwarded(frame: Buffer, source: NodeKey): Buffer {
  // RecvPacket cannot carry a zero source. Without one, the frame keeps its first version, which had no key.
  const from = isZeroKey(source) ? 2 * KEY_LENGTH : KEY_LENGTH;
  if (from === KEY_LENGTH) frame.copyWithin(PACKET_AT, KEY_AT, PACKET_AT);
  frame[from] = FrameType.RecvPacket;
  frame.writeUInt32BE(frame.length - from - HEADER_LENGTH, from + 1);
  return frame.subarray(from);
}
