import { describe, expect, it } from 'vitest';
import * as encode from '../../../src/protocol/frame.js';
import { FrameType, PeerGoneReason, PresenceFlag } from '../../../src/protocol/wire.js';
import { addressOf, bytes, type FrameVector, nodeKey, vectors } from '../vectors.js';

type Encoder = (vector: FrameVector) => Buffer;

/** Makes each kind of frame from its vector. Health and Restarting are never sent, so no function makes them. */
const ENCODERS: Record<keyof typeof FrameType, Encoder> = {
  ServerKey: (vector) => encode.serverKeyFrame(nodeKey(vector.public)),
  ClientInfo: never,
  ServerInfo: never,
  SendPacket: ({ destination, payload }) => encode.sendPacketFrame(nodeKey(destination), bytes(payload)),
  RecvPacket: ({ sourceKey, payload }) => encode.recvPacketFrame(nodeKey(sourceKey), bytes(payload)),
  KeepAlive: () => encode.KEEP_ALIVE_FRAME,
  NotePreferred: ({ preferred }) => encode.notePreferredFrame(preferred ?? false),
  PeerGone: ({ peer, reason }) =>
    encode.peerGoneFrame(nodeKey(peer), PeerGoneReason[reason as keyof typeof PeerGoneReason]),
  PeerPresent: (vector) => encode.peerPresentFrame(presence(vector)),
  ForwardPacket: ({ sourceKey, destination, payload }) =>
    encode.forwardPacketFrame(nodeKey(sourceKey), nodeKey(destination), bytes(payload)),
  WatchConns: () => encode.WATCH_CONNS_FRAME,
  ClosePeer: ({ peer }) => encode.closePeerFrame(nodeKey(peer)),
  Ping: ({ data }) => encode.pingFrame(bytes(data)),
  Pong: ({ data }) => encode.pongFrame(bytes(data)),
  Health: ({ problem }) => encode.encodeFrame(FrameType.Health, Buffer.from(problem ?? '')),
  Restarting: ({ reconnectInMs, tryForMs }) => encode.encodeFrame(FrameType.Restarting, u32s(reconnectInMs, tryForMs)),
};

describe('encoded frames', () => {
  it.each(Object.entries(vectors.frames))('a frame is upstream’s to the byte: %s', (_name, vector) => {
    const encoder = ENCODERS[vector.type as keyof typeof FrameType];
    expect(encoder(vector).toString('hex')).toBe(vector.hex);
  });

  it('the vectors have frames of every type except the sealed ones, which login.spec has', () => {
    const types = new Set(Object.values(vectors.frames).map(({ type }) => type));
    expect([...types, 'ClientInfo', 'ServerInfo'].sort()).toEqual(Object.keys(FrameType).sort());
  });
});

describe('pongFrame', () => {
  it('pongFrame echoes the first 8 bytes of a longer ping', () => {
    expect(encode.pongFrame(bytes('0001020304050607aabb')).toString('hex')).toBe('13000000080001020304050607');
  });
});

describe('addressBytes', () => {
  it.each([
    ['1.2.3.4', '00000000000000000000ffff01020304'],
    ['255.255.255.255', '00000000000000000000ffffffffffff'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['1::', '00010000000000000000000000000000'],
    ['fe80::1', 'fe800000000000000000000000000001'],
    ['fe80::1%eth0', 'fe800000000000000000000000000001'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3::6:7:8', '00010002000300000000000600070008'],
    ['2001:DB8::A', '20010db800000000000000000000000a'],
    ['::ffff:1.2.3.4', '00000000000000000000ffff01020304'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['1:2:3:4:5:6:7.8.9.10', '0001000200030004000500060708090a'],
  ])('addressBytes reads %s', (text, hex) => {
    expect(encode.addressBytes(text)?.toString('hex')).toBe(hex);
  });

  it.each(['', 'localhost', '1.2.3', '1.2.3.4.5', '256.1.1.1', ':::', '1:2', '[::1]', '::1/64'])(
    'addressBytes refuses %j',
    (text) => {
      expect(encode.addressBytes(text)).toBeUndefined();
    },
  );
});

describe('peerPresentFrame', () => {
  it('peerPresentFrame has neither address nor port if the address is unknown', () => {
    const frame = encode.peerPresentFrame({ ...presence(vectors.frames.PeerPresent), address: 'unix', port: 41641 });
    expect(frame.subarray(37, 55)).toEqual(Buffer.alloc(18));
  });
});

function presence(vector: FrameVector | undefined): encode.Presence {
  const { peer, address = '', flags = [], appName = '' } = vector as FrameVector;
  const bit = (name: string) => PresenceFlag[name.replace(/^Is/, '') as keyof typeof PresenceFlag];
  return { key: nodeKey(peer), ...addressOf(address), flags: flags.reduce((sum, name) => sum | bit(name), 0), appName };
}

function u32s(...values: (number | undefined)[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    buffer.writeUInt32BE(value ?? 0, 4 * index);
  });
  return buffer;
}

function never(): never {
  throw new Error('the nonce is random');
}
