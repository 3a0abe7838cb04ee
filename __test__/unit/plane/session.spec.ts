import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ForwardingContext } from '../../../src/plane/js/client.js';
import type { Connection } from '../../../src/plane/js/connection.js';
import { LoginPhase, WaitingPhase } from '../../../src/plane/js/login.js';
import type { OutboundPacket } from '../../../src/plane/js/queue.js';
import { Session } from '../../../src/plane/js/session.js';
import { Wheel } from '../../../src/plane/js/wheel.js';
import { ProtocolError } from '../../../src/protocol/decode.js';
import * as encode from '../../../src/protocol/frame.js';
import { generateKeyPair, type NodeKey } from '../../../src/protocol/key.js';
import { type OpenedLogin, sealClientInfo } from '../../../src/protocol/login.js';
import { DISCO_MAGIC, FrameType, HEADER_LENGTH, PeerGoneReason } from '../../../src/protocol/wire.js';
import { cases, vectors } from '../vectors.js';
import { contextWith, keyOf } from './context.js';

const ALICE = keyOf(1);
const BOB = keyOf(2);
const NOBODY = keyOf(9);
const DISCO = Buffer.concat([DISCO_MAGIC, Buffer.alloc(60, 1)]);

/** A connection that records the packets and frames that it should send. */
class Peer {
  readonly packets: OutboundPacket[] = [];
  readonly frames: string[] = [];
  readonly pongs: string[] = [];
  readonly session: Session;
  readonly egress = {
    packet: (packet: OutboundPacket) => void this.packets.push(packet),
    frames: (frames: Buffer) => void this.frames.push(frames.toString('hex')),
    sendPong: (frame: Buffer) => void this.pongs.push(frame.toString('hex')),
  };

  constructor(
    readonly id: number,
    key: NodeKey,
    context: ForwardingContext,
    readonly mesh = false,
  ) {
    const connection = this as unknown as Connection;
    this.session = new Session(connection, key, context.table.add(connection, key), context);
  }

  onPong(): void {}

  /** Hands a frame to the session, as the decoder would. */
  receive(frame: Buffer): void {
    const type = frame[0] as number;
    if (this.session.onHeader(type, frame.length - HEADER_LENGTH)) this.session.onFrame(type, Buffer.from(frame));
  }
}

let context: ForwardingContext;
let log: string[];
let alice: Peer;
let bob: Peer;

beforeEach(() => {
  vi.useFakeTimers();
  ({ context, log } = contextWith());
  alice = new Peer(1, ALICE, context);
  bob = new Peer(2, BOB, context);
});

afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

describe('headers of frames', () => {
  it.each(cases(vectors.inboundFrames))(
    'a header is accepted or refused as upstream does: %s',
    (_name, { type, length, mesh, closes }) => {
      const { session } = new Peer(3, keyOf(3), context, mesh);
      if (closes) expect(() => session.onHeader(type, length)).toThrow(ProtocolError);
      else expect(() => session.onHeader(type, length)).not.toThrow();
    },
  );

  it('a session reads the bodies only of frames with a meaning', () => {
    const mesh = new Peer(3, keyOf(3), context, true);
    const lengths: Partial<Record<keyof typeof FrameType, number>> = {
      SendPacket: 40,
      ForwardPacket: 70,
      NotePreferred: 1,
      WatchConns: 0,
      ClosePeer: 32,
      Ping: 8,
    };
    for (const [name, type] of Object.entries(FrameType)) {
      const length = lengths[name as keyof typeof FrameType];
      expect(mesh.session.onHeader(type, length ?? 40), name).toBe(length !== undefined);
    }
    expect(mesh.session.onHeader(0x7f, 40)).toBe(false);
  });
});

describe('SendPacket frames', () => {
  it('a SendPacket becomes a RecvPacket of its sender, to the byte', () => {
    const payload = Buffer.from('payload');
    alice.receive(encode.sendPacketFrame(BOB, payload));
    const [packet] = bob.packets;
    expect(packet?.frame).toEqual(encode.recvPacketFrame(ALICE, payload));
    expect(packet).toMatchObject({ payload: 7, source: ALICE, disco: false });
    expect(context.counters.read('packets_received:other')).toBe(1);
    expect(context.counters.read('bytes_received')).toBe(7);
    expect(alice.session.received).toEqual({ packets: 1, bytes: 7 });
  });

  it('a SendPacket may be empty, and may be for its sender', () => {
    alice.receive(encode.sendPacketFrame(ALICE, Buffer.alloc(0)));
    expect(alice.packets[0]?.frame).toEqual(encode.recvPacketFrame(ALICE, Buffer.alloc(0)));
  });

  it('a SendPacket of discovery is marked as discovery', () => {
    alice.receive(encode.sendPacketFrame(BOB, DISCO));
    expect(bob.packets[0]?.disco).toBe(true);
    expect(context.counters.read('packets_received:disco')).toBe(1);
  });

  it('a SendPacket for an absent key is counted as received and as dropped', () => {
    alice.receive(encode.sendPacketFrame(NOBODY, Buffer.alloc(100)));
    expect(context.counters.read('packets_received:other')).toBe(1);
    expect(context.counters.read('packets_dropped:unknown_dest:other')).toBe(1);
    expect(context.counters.read('bytes_dropped:unknown_dest:other')).toBe(100);
    expect(alice.frames).toEqual([]);
  });
});

describe('discovery packets for absent keys', () => {
  const notHere = encode.peerGoneFrame(NOBODY, PeerGoneReason.NotHere).toString('hex');

  it('discovery for an absent key is answered three times at once, then once a second', () => {
    let now = 0;
    vi.spyOn(Wheel, 'now').mockImplementation(() => now);
    for (let index = 0; index < 6; index++) alice.receive(encode.sendPacketFrame(NOBODY, DISCO));
    expect(alice.frames).toEqual([notHere, notHere, notHere]);
    for (now = 250; now <= 5000; now += 250) alice.receive(encode.sendPacketFrame(NOBODY, DISCO));
    expect(alice.frames).toHaveLength(8);
    expect(context.counters.read('packets_dropped:unknown_dest:disco')).toBe(26);
  });

  it('answers to discovery are limited for each sender alone', () => {
    for (let index = 0; index < 5; index++) {
      alice.receive(encode.sendPacketFrame(NOBODY, DISCO));
      bob.receive(encode.sendPacketFrame(NOBODY, DISCO));
    }
    expect(alice.frames).toHaveLength(3);
    expect(bob.frames).toHaveLength(3);
  });
});

describe('ForwardPacket frames', () => {
  it('a ForwardPacket becomes a RecvPacket of the original sender, and is not counted as received', () => {
    const relay = new Peer(3, keyOf(3), context, true);
    const carol = keyOf(4);
    relay.receive(encode.forwardPacketFrame(carol, BOB, Buffer.from('payload')));
    expect(bob.packets[0]?.frame).toEqual(encode.recvPacketFrame(carol, Buffer.from('payload')));
    expect(bob.packets[0]).toMatchObject({ payload: 7, source: carol, disco: false });
    expect(context.counters.read('packets_forwarded_in')).toBe(1);
    expect(context.counters.read('packets_received:other')).toBe(0);
  });

  it('a ForwardPacket with a source of zeros becomes a RecvPacket without a key', () => {
    const relay = new Peer(3, keyOf(3), context, true);
    const zero = '\0'.repeat(32) as NodeKey;
    relay.receive(encode.forwardPacketFrame(zero, BOB, Buffer.from('payload')));
    expect(bob.packets[0]?.frame).toEqual(encode.encodeFrame(FrameType.RecvPacket, Buffer.from('payload')));
  });

  it('a ForwardPacket for an absent key is dropped, and the sending relay hears of it for discovery', () => {
    const relay = new Peer(3, keyOf(3), context, true);
    relay.receive(encode.forwardPacketFrame(ALICE, NOBODY, Buffer.alloc(10)));
    relay.receive(encode.forwardPacketFrame(ALICE, NOBODY, DISCO));
    expect(context.counters.read('packets_dropped:unknown_dest_on_fwd:other')).toBe(1);
    expect(context.counters.read('packets_dropped:unknown_dest_on_fwd:disco')).toBe(1);
    expect(relay.frames).toEqual([encode.peerGoneFrame(NOBODY, PeerGoneReason.NotHere).toString('hex')]);
    expect(alice.frames).toEqual([]);
  });
});

describe('other frames', () => {
  it('a ping is answered with its first 8 bytes', () => {
    alice.receive(encode.pingFrame(Buffer.from('0001020304050607ffff', 'hex')));
    expect(alice.pongs).toEqual(['13000000080001020304050607']);
    expect(context.counters.read('got_ping')).toBe(1);
  });

  it('a ping that ends the connection is counted too', () => {
    expect(() => alice.receive(encode.pingFrame(Buffer.alloc(7)))).toThrow(ProtocolError);
    expect(context.counters.read('got_ping')).toBe(1);
  });

  it('a change of home is reported, and a repetition is not', async () => {
    alice.receive(encode.notePreferredFrame(false));
    await vi.advanceTimersByTimeAsync(20);
    expect(log).toEqual([]);
    alice.receive(encode.encodeFrame(FrameType.NotePreferred, Buffer.from([0x80])));
    alice.receive(encode.notePreferredFrame(true));
    await vi.advanceTimersByTimeAsync(20);
    expect(log).toEqual(['prefer 1 true 1']);
  });

  it('WatchConns and ClosePeer of a mesh peer are reported', async () => {
    const relay = new Peer(3, keyOf(3), context, true);
    relay.receive(encode.WATCH_CONNS_FRAME);
    relay.receive(encode.closePeerFrame(BOB));
    await vi.advanceTimersByTimeAsync(0);
    expect(log).toEqual(['watch 3', `closePeer 3 ${BOB}`]);
  });

  it('the header of any frame makes its connection the active one of the key', () => {
    const clone = new Peer(4, ALICE, context);
    expect(context.table.lookup(ALICE)).toBe(clone);
    alice.session.onHeader(FrameType.KeepAlive, 0);
    expect(context.table.lookup(ALICE)).toBe(alice);
    clone.session.onHeader(0x7f, 100);
    expect(context.table.lookup(ALICE)).toBe(clone);
    // So does the header of a frame that ends the connection.
    expect(() => alice.session.onHeader(FrameType.WatchConns, 0)).toThrow(ProtocolError);
    expect(context.table.lookup(ALICE)).toBe(alice);
  });

  it('a keepalive is empty', () => {
    alice.session.keepAlive();
    expect(alice.frames).toEqual(['0600000000']);
  });
});

describe('before the login', () => {
  it.each(cases(vectors.firstFrames))(
    'a first frame is accepted or refused as upstream does: %s',
    (_name, { type, length, taken }) => {
      const phase = new LoginPhase(context, () => {});
      if (taken) expect(phase.onHeader(type, length)).toBe(true);
      else expect(() => phase.onHeader(type, length)).toThrow(ProtocolError);
    },
  );

  it('the policy limits the length of a ClientInfo', () => {
    const small = contextWith({ limits: { clientInfoBytes: 1000 } }).context;
    const phase = new LoginPhase(small, () => {});
    expect(phase.onHeader(FrameType.ClientInfo, 1000)).toBe(true);
    expect(() => phase.onHeader(FrameType.ClientInfo, 1001)).toThrow(ProtocolError);
  });

  it('a ClientInfo proves its key', () => {
    const logins: OpenedLogin[] = [];
    const client = generateKeyPair();
    const phase = new LoginPhase(context, (login) => logins.push(login));
    phase.onFrame(FrameType.ClientInfo, sealClientInfo(client, context.keys.publicKey, '{"version":2}'));
    expect(logins).toHaveLength(1);
    expect(logins[0]).toMatchObject({ key: client.publicKey, info: { version: 2 } });
  });

  it('no frame is accepted between login and admission', () => {
    expect(() => WaitingPhase.onHeader(FrameType.KeepAlive, 0)).toThrow(/before admission/);
  });
});
