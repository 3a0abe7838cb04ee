/** Encodes frames. Every function returns whole frames, header included, in a Buffer of their exact size. */
import { isIPv4, isIPv6 } from 'node:net';
import { type NodeKey, writeNodeKey } from './key.js';
import {
  FrameType,
  HEADER_LENGTH,
  KEY_LENGTH,
  MAGIC,
  PEER_GONE_LENGTH,
  PEER_PRESENT_LENGTH,
  type PeerGoneReason,
  PING_LENGTH,
} from './wire.js';

/** A frame with its header written; the caller fills in the body, from offset {@link HEADER_LENGTH}. */
export function newFrame(type: FrameType, bodyLength: number): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_LENGTH + bodyLength);
  frame[0] = type;
  frame.writeUInt32BE(bodyLength, 1);
  return frame;
}

export function encodeFrame(type: FrameType, body: Uint8Array): Buffer {
  const frame = newFrame(type, body.length);
  frame.set(body, HEADER_LENGTH);
  return frame;
}

export function serverKeyFrame(serverKey: NodeKey): Buffer {
  const frame = newFrame(FrameType.ServerKey, MAGIC.length + KEY_LENGTH);
  frame.set(MAGIC, HEADER_LENGTH);
  writeNodeKey(serverKey, frame, HEADER_LENGTH + MAGIC.length);
  return frame;
}

export function sendPacketFrame(destination: NodeKey, packet: Uint8Array): Buffer {
  return keyedPacket(FrameType.SendPacket, destination, packet);
}

export function recvPacketFrame(source: NodeKey, packet: Uint8Array): Buffer {
  return keyedPacket(FrameType.RecvPacket, source, packet);
}

export function forwardPacketFrame(source: NodeKey, destination: NodeKey, packet: Uint8Array): Buffer {
  const frame = newFrame(FrameType.ForwardPacket, 2 * KEY_LENGTH + packet.length);
  writeNodeKey(source, frame, HEADER_LENGTH);
  writeNodeKey(destination, frame, HEADER_LENGTH + KEY_LENGTH);
  frame.set(packet, HEADER_LENGTH + 2 * KEY_LENGTH);
  return frame;
}

/** Every connection sends this one Buffer: never write into it. */
export const KEEP_ALIVE_FRAME: Buffer = newFrame(FrameType.KeepAlive, 0);
export const WATCH_CONNS_FRAME: Buffer = newFrame(FrameType.WatchConns, 0);

export function notePreferredFrame(home: boolean): Buffer {
  return encodeFrame(FrameType.NotePreferred, Uint8Array.of(home ? 1 : 0));
}

export function closePeerFrame(target: NodeKey): Buffer {
  return keyedPacket(FrameType.ClosePeer, target, new Uint8Array());
}

export function pingFrame(data: Uint8Array): Buffer {
  return encodeFrame(FrameType.Ping, data);
}

/** Echoes the first 8 bytes of a ping's body. */
export function pongFrame(pingBody: Uint8Array): Buffer {
  return encodeFrame(FrameType.Pong, pingBody.subarray(0, PING_LENGTH));
}

export function peerGoneFrame(key: NodeKey, reason: PeerGoneReason): Buffer {
  const frame = newFrame(FrameType.PeerGone, PEER_GONE_LENGTH);
  writeNodeKey(key, frame, HEADER_LENGTH);
  frame[HEADER_LENGTH + KEY_LENGTH] = reason;
  return frame;
}

/** What a PeerPresent frame tells a watcher about a connected peer. */
export interface Presence {
  readonly key: NodeKey;
  /** IPv4 or IPv6 text. Any other text is encoded as 16 zero bytes and port 0. */
  readonly address: string;
  readonly port: number;
  /** Bits of {@link PresenceFlag}. */
  readonly flags: number;
  /** Printable ASCII, at most 32 characters; empty for most clients. */
  readonly appName: string;
}

export function peerPresentFrame(peer: Presence): Buffer {
  const frame = newFrame(FrameType.PeerPresent, PEER_PRESENT_LENGTH + peer.appName.length);
  writeNodeKey(peer.key, frame, HEADER_LENGTH);
  let at = HEADER_LENGTH + KEY_LENGTH;
  const address = addressBytes(peer.address);
  frame.fill(0, at, at + 18);
  if (address) {
    frame.set(address, at);
    frame.writeUInt16BE(peer.port, at + 16);
  }
  at += 18;
  frame[at] = peer.flags;
  frame[at + 1] = peer.appName.length;
  frame.write(peer.appName, at + 2, 'latin1');
  return frame;
}

/** The 16 bytes of an address, IPv4 in its mapped form; `undefined` if the text is not an address. */
export function addressBytes(text: string): Buffer | undefined {
  const bytes = Buffer.alloc(16);
  if (isIPv4(text)) {
    bytes.writeUInt16BE(0xffff, 10);
    bytes.set(text.split('.').map(Number), 12);
    return bytes;
  }
  const zoneless = text.split('%', 1)[0] as string;
  if (!isIPv6(zoneless)) return undefined;
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(zoneless);
  const groups = dotted ? `${dotted[1]}${v4Groups(dotted[2] as string)}` : zoneless;
  const [head = '', tail] = groups.split('::', 2) as [string, string?];
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const all = [...left, ...Array(8 - left.length - right.length).fill('0'), ...right];
  all.forEach((group, index) => {
    bytes.writeUInt16BE(Number.parseInt(group, 16), 2 * index);
  });
  return bytes;
}

function v4Groups(dotted: string): string {
  const [a, b, c, d] = dotted.split('.').map(Number) as [number, number, number, number];
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

function keyedPacket(type: FrameType, key: NodeKey, packet: Uint8Array): Buffer {
  const frame = newFrame(type, KEY_LENGTH + packet.length);
  writeNodeKey(key, frame, HEADER_LENGTH);
  frame.set(packet, HEADER_LENGTH + KEY_LENGTH);
  return frame;
}
