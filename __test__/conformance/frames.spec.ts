import { describe, expect, it } from 'vitest';
import { encodeFrame } from '../../src/protocol/frame.js';
import { nodeKeyBytes } from '../../src/protocol/key.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** Types that a relay passes over: its own, those of newer versions, and ClientInfo, which has its time and place. */
const PASSED_OVER = [0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x08, 0x09, 0x0b, 0x0f, 0x13, 0x14, 0x15, 0x16, 0x7f, 0xff];

function frame(type: number, length: number): Buffer {
  return encodeFrame(type as FrameType, Buffer.alloc(length));
}

/** A header whose body does not come: what is refused at the header is refused without it. */
function header(type: number, length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH);
  bytes[0] = type;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** What a client without mesh permission may not send. */
const CLOSING: [name: string, bytes: Buffer][] = [
  ['a SendPacket of 0 bytes', header(FrameType.SendPacket, 0)],
  ['a SendPacket of 31 bytes', header(FrameType.SendPacket, 31)],
  ['a SendPacket of 65569 bytes', header(FrameType.SendPacket, 65569)],
  ['a SendPacket of 4 GB', header(FrameType.SendPacket, 0xffffffff)],
  ['a NotePreferred of 0 bytes', header(FrameType.NotePreferred, 0)],
  ['a NotePreferred of 2 bytes', header(FrameType.NotePreferred, 2)],
  ['a ping of 0 bytes', header(FrameType.Ping, 0)],
  ['a ping of 7 bytes', header(FrameType.Ping, 7)],
  ['a ping of 1001 bytes', header(FrameType.Ping, 1001)],
  ['a WatchConns', header(FrameType.WatchConns, 0)],
  ['a WatchConns of 1 byte', header(FrameType.WatchConns, 1)],
  ['a ClosePeer', header(FrameType.ClosePeer, 32)],
  ['a ClosePeer of 31 bytes', header(FrameType.ClosePeer, 31)],
  ['a ForwardPacket', header(FrameType.ForwardPacket, 70)],
  ['a ForwardPacket of 0 bytes', header(FrameType.ForwardPacket, 0)],
  ...PASSED_OVER.map((type): [string, Buffer] => [`a frame of type ${type} and 65569 bytes`, header(type, 65569)]),
];

/** What even a mesh peer may not send. */
const CLOSING_MESH_PEERS: [name: string, bytes: Buffer][] = [
  ['a WatchConns of 1 byte', header(FrameType.WatchConns, 1)],
  ['a ClosePeer of 0 bytes', header(FrameType.ClosePeer, 0)],
  ['a ClosePeer of 33 bytes', header(FrameType.ClosePeer, 33)],
  ['a ForwardPacket of 63 bytes', header(FrameType.ForwardPacket, 63)],
  ['a ForwardPacket of 65601 bytes', header(FrameType.ForwardPacket, 65601)],
  ['a SendPacket of 65569 bytes', header(FrameType.SendPacket, 65569)],
];

describe.each(LANES_AND_TLS)('frames of a client, $name', (lane) => {
  it('a frame that breaks the protocol ends its connection at the header, and no other', async () => {
    const relay = await startRelay(lane);
    const undisturbed = await DerpClient.connect(relay);
    for (const [name, bytes] of CLOSING) {
      const client = await DerpClient.connect(relay);
      client.send(bytes);
      await client.closed();
      expect(await relay.endOf(client.key), name).toBe('protocol_error');
      await expect(client.next(), name).rejects.toThrow('no frame is left');
    }
    expect(await undisturbed.fence()).toEqual([]);
    await relay.untilFigures({ connections: 1 });
  });

  it('a frame that breaks the protocol ends a mesh peer, too', async () => {
    const relay = await startRelay(lane);
    for (const [name, bytes] of CLOSING_MESH_PEERS) {
      const client = await DerpClient.connect(relay, { meshKey: MESH_KEY });
      client.send(bytes);
      await client.closed();
      expect(await relay.endOf(client.key), name).toBe('protocol_error');
    }
  });

  it('frames of unknown or meaningless types are skipped up to 65568 bytes', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    for (const type of PASSED_OVER) {
      for (const length of [0, 1, 40, 65568]) client.send(frame(type, length));
      expect(await client.fence(), `type ${type}`).toEqual([]);
    }
    // Also when they come in pieces.
    const pieces = Buffer.concat([frame(0x55, 10), frame(0x56, 0), frame(0x57, 3)]);
    await client.wire.writeSplit(pieces, ...pieces.keys());
    expect(await client.fence()).toEqual([]);
  });

  it.each([8, 9, 500, 1000])('a ping of %d bytes is answered with its first 8', async (length) => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    const data = Buffer.from(Array.from({ length }, (_, index) => index & 0xff));
    client.send(encodeFrame(FrameType.Ping, data));
    expect(await client.expect('Pong')).toEqual({ type: 'Pong', data: '0001020304050607' });
    await relay.untilCount('got_ping', 1);
    await relay.untilCount('sent_pong', 1);
  });

  it('pings are counted, even if their length ends the connection', async () => {
    const relay = await startRelay(lane);
    for (const length of [7, 1001]) {
      const client = await DerpClient.connect(relay);
      client.send(header(FrameType.Ping, length));
      await client.closed();
    }
    expect(relay.count('got_ping')).toBe(2);
    expect(relay.count('sent_pong')).toBe(0);
  });

  it('a client’s home counts once, however often it announces it', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    const other = await DerpClient.connect(relay);
    other.notePreferred(true);
    for (const home of [true, true, false, true]) client.notePreferred(home);
    await relay.untilFigures({ home: 2 });
    // Anything but zero is yes.
    client.send(encodeFrame(FrameType.NotePreferred, Buffer.of(0)));
    await relay.untilFigures({ home: 1 });
    client.send(encodeFrame(FrameType.NotePreferred, Buffer.of(0xff)));
    await relay.untilFigures({ home: 2 });
    await client.close();
    await relay.untilFigures({ home: 1, connections: 1, homeMovesIn: 0, homeMovesOut: 0 });
  });

  it.each([false, true])(
    'a stream that ends inside a frame ends its connection without a fault; TLS %s',
    async (tls) => {
      const relay = await startRelay(lane, { tls });
      // Between two frames, within a header, behind it, within the body.
      for (const length of [0, 1, 3, 5, 30, 44]) {
        const client = await DerpClient.connect(relay);
        const sendPacket = Buffer.concat([header(FrameType.SendPacket, 40), nodeKeyBytes(client.key), Buffer.alloc(8)]);
        client.send(sendPacket.subarray(0, length));
        client.wire.end();
        await client.closed();
        expect(await relay.endOf(client.key), `after ${length} bytes`).toBe('disconnected');
      }
      expect(relay.count('bytes_received')).toBe(0);
    },
  );

  it('complete frames before the end of a connection take effect', async () => {
    const relay = await startRelay(lane);
    const [leaving, staying] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    leaving.sendPacket(staying.key, 'last words');
    leaving.wire.end();
    expect(await staying.expectPacket('last words')).toBe(leaving.key);
    expect(await staying.expect('PeerGone')).toEqual({ type: 'PeerGone', key: leaving.key, reason: 0 });
  });

  it('frames may be cut anywhere, over TLS too', async () => {
    const relay = await startRelay(lane, { tls: true });
    const client = await DerpClient.connect(relay);
    const packet = Buffer.concat([
      header(FrameType.SendPacket, 44),
      nodeKeyBytes(client.key),
      Buffer.from('twelve bytes'),
    ]);
    const frames = Buffer.concat([packet, frame(0x60, 7), packet]);
    for (let cut = 1; cut < frames.length; cut += 3) {
      await client.wire.writeSplit(frames, cut);
      await client.expectPacket('twelve bytes');
      await client.expectPacket('twelve bytes');
    }
    await client.wire.writeSplit(frames, ...frames.keys());
    await client.expectPacket('twelve bytes');
    await client.expectPacket('twelve bytes');
    expect(await client.fence()).toEqual([]);
  });

  it('a frame that announces much and brings little costs other clients nothing', async () => {
    const relay = await startRelay(lane);
    const liars = await Promise.all([...Array(20)].map(() => DerpClient.connect(relay)));
    for (const liar of liars) liar.send(header(FrameType.SendPacket, 65568), Buffer.alloc(10));
    const client = await DerpClient.connect(relay);
    expect(await client.fence()).toEqual([]);
    for (const liar of liars) await liar.close();
    await eventually(() => relay.disconnected.length === liars.length, 'all of them to be gone');
    expect(await client.fence()).toEqual([]);
  });
});
