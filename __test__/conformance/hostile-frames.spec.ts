import { describe, expect, it } from 'vitest';
import { encodeFrame, notePreferredFrame, pingFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { nodeKeyBytes } from '../../src/protocol/key.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { randomBytes, SEED, seeded } from '../helpers/random.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { PATIENCE } from '../helpers/wait.js';

nothingIsLeft();

/** A frame that announces one length and brings another. */
function lying(type: number, announced: number, body: Uint8Array): Buffer {
  const frame = Buffer.concat([Buffer.alloc(HEADER_LENGTH), body]);
  frame[0] = type;
  frame.writeUInt32BE(announced, 1);
  return frame;
}

/** One frame of each kind that a client may send, among them one without a body. */
function everyKind(client: DerpClient): Buffer {
  return Buffer.concat([
    sendPacketFrame(client.key, Buffer.from('first')),
    encodeFrame(0x71 as FrameType, Buffer.alloc(0)),
    notePreferredFrame(true),
    pingFrame(Buffer.from('cut here')),
    encodeFrame(0x72 as FrameType, Buffer.alloc(3)),
    notePreferredFrame(false),
    sendPacketFrame(client.key, Buffer.alloc(0)),
  ]);
}

async function expectEveryKind(client: DerpClient, what: string): Promise<void> {
  const frames = [await client.next(), await client.next(), await client.next()];
  const packets = frames.filter(({ type }) => type === 'RecvPacket');
  expect(packets, what).toEqual([
    { type: 'RecvPacket', source: client.key, packet: Buffer.from('first') },
    { type: 'RecvPacket', source: client.key, packet: Buffer.alloc(0) },
  ]);
  expect(frames, what).toContainEqual({ type: 'Pong', data: Buffer.from('cut here').toString('hex') });
}

describe.each(LANES_AND_TLS)('hostile frames, $name', (lane) => {
  it.each([false, true])('frames that are split at every byte keep their meaning; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const client = await DerpClient.connect(relay);
      const frames = everyKind(client);
      for (const cut of frames.keys()) {
        await client.wire.writeSplit(frames, cut);
        await expectEveryKind(client, `cut at ${cut}`);
      }
      await client.wire.writeSplit(frames, ...frames.keys());
      await expectEveryKind(client, 'byte by byte');
      expect(await client.fence()).toEqual([]);
      await client.close();
    });
    expect(relay.drops()).toEqual({});
  });

  it('frames that announce too many bytes swallow what follows, and none of it takes effect', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const [liar, reader] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const swallowed = Buffer.concat([pingFrame(Buffer.alloc(8)), notePreferredFrame(true)]);
      liar.send(lying(FrameType.SendPacket, 32 + 3 + swallowed.length, nodeKeyBytes(reader.key)));
      liar.send(Buffer.from('abc'), swallowed);
      const { source, packet } = await reader.expect('RecvPacket');
      expect([source, packet]).toEqual([liar.key, Buffer.concat([Buffer.from('abc'), swallowed])]);
      liar.send(lying(0x73, swallowed.length, swallowed));
      expect(await liar.fence()).toEqual([]);
      expect(relay.count('got_ping')).toBe(1);
      expect(relay.relay.figures().home).toBe(0);
      await liar.close();
      await reader.close();
    });
  });

  it('frames that announce too few bytes end their connection at the rest, and no other', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const reader = await DerpClient.connect(relay);
      // The rest is the header of a SendPacket of 16 MB, of a ping of 0 bytes, of something unknown of 4 GB.
      for (const rest of ['0401000000', '1200000000', 'ffffffffff']) {
        const liar = await DerpClient.connect(relay);
        liar.send(
          lying(FrameType.SendPacket, 32 + 5, Buffer.concat([nodeKeyBytes(reader.key), Buffer.from('whole')])),
          Buffer.from(rest, 'hex'),
          sendPacketFrame(reader.key, Buffer.from('never')),
        );
        expect(await reader.expectPacket('whole')).toBe(liar.key);
        await liar.closed();
        expect(await relay.endOf(liar.key), rest).toBe('protocol_error');
        expect(await reader.expect('PeerGone')).toMatchObject({ key: liar.key, reason: 0 });
      }
      expect(await reader.fence()).toEqual([]);
      await reader.close();
    });
  });

  it('an incomplete last frame is no packet, however its connection ends', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const reader = await DerpClient.connect(relay);
      for (const how of ['end', 'reset', 'destroy'] as const) {
        for (const announced of [33, 1000, 65568]) {
          const liar = await DerpClient.connect(relay);
          liar.send(lying(FrameType.SendPacket, announced, nodeKeyBytes(reader.key)));
          await liar.wire.flushed();
          await liar.wire[how]();
          expect(await relay.endOf(liar.key)).toBe('disconnected');
        }
      }
      expect(await reader.fence()).toEqual([]);
      await reader.close();
    });
  });

  it.each([
    ['clients', undefined],
    ['mesh peers', MESH_KEY],
  ])('random bytes of %s end their connections and cost nothing else', async (who, meshKey) => {
    const relay = await startRelay(lane);
    const random = seeded(SEED + who.length);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const attackers = await Promise.all(
        [...Array(30)].map(() => DerpClient.connect(relay, meshKey === undefined ? {} : { meshKey })),
      );
      for (const [index, attacker] of attackers.entries()) {
        // Bytes without any sense, and frames with a header that has some.
        if (index % 2 === 0) attacker.send(randomBytes(random, 1 + Math.floor(random() * 5000)));
        else for (let count = 0; count < 20; count++) attacker.send(randomFrame(random, attackers));
      }
      await Promise.all(attackers.map(({ wire }) => wire.flushed()));
      // The attackers end, reset or drop their connections in turn.
      for (const [index, { wire }] of attackers.entries()) {
        if (index % 3 === 0) wire.end();
        else if (index % 3 === 1) wire.reset();
        else await wire.destroy();
      }
      await Promise.all(attackers.map(({ wire }) => wire.ended(PATIENCE)));
      await relay.untilFigures({ connections: 2 });
    });
    expect(relay.connected).toHaveLength(32);
    // What some of them sent may have been a ClosePeer of others.
    const reasons = ['disconnected', 'protocol_error', ...(meshKey === undefined ? [] : ['closed_by_peer'])];
    for (const { reason } of relay.disconnected) expect(reasons).toContain(reason);
  });
});

/** Any type there is and some there are not, mostly of a length that it may have. A mesh peer's may close others of them. */
function randomFrame(random: () => number, clients: readonly DerpClient[]): Buffer {
  const client = clients[Math.floor(random() * clients.length)] as DerpClient;
  const type = Math.floor(random() * 0x16);
  const fixed: Partial<Record<number, number>> = {
    [FrameType.NotePreferred]: 1,
    [FrameType.WatchConns]: 0,
    [FrameType.ClosePeer]: 32,
  };
  const length = random() < 0.95 ? (fixed[type] ?? 64 + Math.floor(random() * 500)) : Math.floor(random() * 70_000);
  const body = randomBytes(random, Math.min(length, 2000));
  // A packet must reach a client now and then.
  if (random() < 0.5) nodeKeyBytes(client.key).copy(body);
  return lying(type, length, body);
}
