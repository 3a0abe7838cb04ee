import { describe, expect, it } from 'vitest';
import { pingFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { SEED, seeded } from '../helpers/random.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { fill, numbered, QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually, turn } from '../helpers/wait.js';
import { clientFrame, closePayload, type FrameOptions, Opcode, WebSocketClient } from '../helpers/websocket.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

interface WebSocketDerp {
  readonly socket: WebSocketClient;
  readonly client: DerpClient;
}

async function login(relay: TestRelay): Promise<WebSocketDerp> {
  const socket = await WebSocketClient.open(relay);
  const client = new DerpClient(new Wire(socket), relay.keys.publicKey, { start: 'none' });
  await client.login();
  return { socket, client };
}

const NOTHING = Buffer.alloc(0);

/** What no client may send, as frames behind each other, and the code that it is closed with. */
const BAD: [name: string, code: number, ...frames: [payload: Uint8Array, options: FrameOptions][]][] = [
  ['a frame without a mask', 1002, [Buffer.alloc(10), { masked: false }]],
  ['a reserved bit', 1002, [Buffer.alloc(10), { reserved: 4 }]],
  ['an unknown opcode', 1002, [NOTHING, { opcode: 3 }]],
  ['an unknown control opcode', 1002, [NOTHING, { opcode: 11 }]],
  ['a continuation of nothing', 1002, [Buffer.alloc(10), { opcode: Opcode.Continuation }]],
  ['a message within a message', 1002, [NOTHING, { final: false }], [NOTHING, {}]],
  ['a ping in fragments', 1002, [NOTHING, { opcode: Opcode.Ping, final: false }]],
  ['a ping of 126 bytes', 1002, [Buffer.alloc(126), { opcode: Opcode.Ping }]],
  ['a length with its highest bit', 1002, [NOTHING, { announced: 1n << 63n }]],
  ['a close of one byte', 1002, [Buffer.alloc(1), { opcode: Opcode.Close }]],
  ['a close with a code that may not be sent', 1002, [closePayload(1006), { opcode: Opcode.Close }]],
  ['text', 1003, [Buffer.from('hello'), { opcode: Opcode.Text }]],
  ['a message of 128 KiB and 1 byte', 1009, [NOTHING, { announced: (128 << 10) + 1 }]],
  ['a message of 8 EB', 1009, [NOTHING, { announced: (1n << 63n) - 1n }]],
  [
    'a message that gets too long by fragments',
    1009,
    [NOTHING, { final: false }],
    [NOTHING, { opcode: Opcode.Continuation, announced: (128 << 10) + 1 }],
  ],
];

const CLOSES: [name: string, payload: Buffer, code: number][] = [
  ['no code', NOTHING, 1005],
  ['1000', closePayload(1000), 1000],
  ['1001 and a reason', closePayload(1001, 'the tab was closed'), 1001],
  ['4999 and 123 bytes', closePayload(4999, 'x'.repeat(123)), 4999],
];

const OVER = LANES.flatMap((lane) =>
  [false, true].map((tls) => ({ name: `${lane.name}, ${tls ? 'TLS' : 'plain TCP'}`, lane, tls })),
);

describe.each(OVER)('a hostile WebSocket, $name', ({ lane, tls }) => {
  it('a WebSocket with messages of any size works as any client', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const [{ socket, client }, other, raw] = [
        await login(relay),
        await login(relay),
        await DerpClient.connect(relay),
      ];
      for (const length of [1, 32_768 - 37, 32_768 - 36, 40_000, 65_535, 65_536]) {
        const packet = Buffer.alloc(length, length & 0xff);
        for (const to of [other.client, raw]) {
          client.sendPacket(to.key, packet);
          expect((await to.expect('RecvPacket')).packet.equals(packet), `${length} bytes`).toBe(true);
          to.sendPacket(client.key, packet);
          expect((await client.expect('RecvPacket')).packet.equals(packet), `${length} bytes back`).toBe(true);
        }
      }
      expect(Math.max(...socket.messages)).toBeGreaterThan(32_768);
      // Three frames in a message, one in many fragments and a ping among them, and all of it byte by byte.
      const frame = sendPacketFrame(raw.key, Buffer.from('in pieces'));
      const pieces = [...frame.keys()].map((at) => frame.subarray(at, at + 1));
      const bytes = Buffer.concat([
        clientFrame(Buffer.concat([frame, frame, frame])),
        ...pieces.map((piece, index) =>
          clientFrame(piece, {
            opcode: index === 0 ? Opcode.Binary : Opcode.Continuation,
            final: index === pieces.length - 1,
          }),
        ),
        clientFrame(Buffer.from('are you there?'), { opcode: Opcode.Ping }),
        clientFrame(Buffer.from('nobody asked'), { opcode: Opcode.Pong }),
        clientFrame(NOTHING),
      ]);
      await socket.wire.writeSplit(bytes, ...bytes.keys());
      for (let count = 0; count < 4; count++) await raw.expectPacket('in pieces');
      await socket.untilPongs(1);
      expect(socket.pongs).toEqual(['are you there?']);
      expect(await client.fence()).toEqual([]);
      for (const each of [client, other.client, raw]) await each.close();
    });
    expect(relay.drops()).toEqual({});
  });

  it('a WebSocket that breaks the framing gets the right close code, and is closed alone', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const each = BAD.map(async ([name, code, ...frames]) => {
        const { socket, client } = await login(relay);
        socket.raw(...frames.map(([payload, options]) => clientFrame(payload, options)));
        expect(await socket.closeCode(), name).toBe(code);
        await socket.wire.ended();
        expect(await relay.endOf(client.key), name).toBe('disconnected');
        await client.close();
      });
      await Promise.all(each);
    });
  });

  it('a WebSocket that breaks DERP is closed, and a packet behind its own close frame does not count', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const { socket, client } = await login(relay);
      client.send(pingFrame(Buffer.alloc(7)));
      expect(await socket.closeCode()).toBe(1000);
      expect(await relay.endOf(client.key)).toBe('protocol_error');
      await client.close();
      const [late, reader] = [await login(relay), await DerpClient.connect(relay)];
      late.socket.raw(
        clientFrame(sendPacketFrame(reader.key, Buffer.from('in time'))),
        clientFrame(closePayload(1000), { opcode: Opcode.Close }),
        clientFrame(sendPacketFrame(reader.key, Buffer.from('too late'))),
      );
      expect(await reader.expectPacket('in time')).toBe(late.client.key);
      expect(await reader.expect('PeerGone')).toMatchObject({ key: late.client.key });
      await late.client.close();
      await reader.close();
    });
  });

  it('a WebSocket that closes gets its own code back', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const each = CLOSES.map(async ([name, payload, code]) => {
        const { socket, client } = await login(relay);
        socket.raw(clientFrame(payload, { opcode: Opcode.Close }));
        expect(await socket.closeCode(), name).toBe(code);
        await socket.wire.ended();
        expect(await relay.endOf(client.key), name).toBe('disconnected');
        await client.close();
      });
      await Promise.all(each);
    });
  });

  it('a WebSocket that keeps sending still learns why it is closed', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const { socket, client } = await login(relay);
      const frame = clientFrame(Buffer.alloc(60_000));
      socket.raw(clientFrame(Buffer.from('hello'), { opcode: Opcode.Text }), frame, frame);
      socket.raw(frame, frame);
      expect(await socket.closeCode()).toBe(1003);
      await socket.wire.ended();
      // Not a reset, which takes back what was said before it.
      expect(socket.wire.stream.errored).toBeNull();
      expect(await relay.endOf(client.key)).toBe('disconnected');
      await client.close();
    });
  });

  it('a WebSocket loses neither frames behind its request nor requests before it', async () => {
    const relay = await startRelay(lane, { tls });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const reader = await DerpClient.connect(relay);
      for (const before of [0, 3]) {
        const info = new DerpClient(reader.wire, relay.keys.publicKey);
        const packet = sendPacketFrame(reader.key, Buffer.from(`behind ${before}`));
        const behind = [clientFrame(info.clientInfo), clientFrame(packet)];
        const socket = await WebSocketClient.open(relay, { before, behind });
        expect(await reader.expectPacket(`behind ${before}`)).toBe(info.key);
        await socket.wire.destroy();
        await reader.expect('PeerGone');
      }
      await reader.close();
    });
  });

  it('a WebSocket is told that the relay closes', async () => {
    const relay = await startRelay(lane, { tls });
    const { socket, client } = await login(relay);
    await relay.relay.close();
    expect(await socket.closeCode()).toBe(1000);
    await client.close();
  });

  it('a WebSocket that never reads loses its oldest packets, and other clients lose none', async () => {
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const [{ socket, client: frozen }, sender] = [await login(relay), await DerpClient.connect(relay)];
      const got: number[] = [];
      frozen.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
      socket.wire.stopReading();
      const sent = await fill(relay, sender, frozen);
      // Pings of both kinds that are never read get no answers that pile up.
      for (let count = 0; count < 2000; count++) {
        socket.raw(clientFrame(Buffer.alloc(125), { opcode: Opcode.Ping }), clientFrame(pingFrame(Buffer.alloc(8))));
      }
      await socket.wire.flushed();
      socket.wire.goOnReading();
      await eventually(
        () => got.at(-1) === sent - 1,
        () => `packet ${sent - 1} after ${got.at(-1)}`,
      );
      await frozen.fence();
      expect(socket.pongs.length).toBeLessThan(2000);
      expect(got).toEqual(got.toSorted((a, b) => a - b));
      expect(got.slice(-QUEUE_DEPTH)).toEqual([...Array(QUEUE_DEPTH).keys()].map((at) => sent - QUEUE_DEPTH + at));
      await frozen.close();
      await sender.close();
    });
  });

  it('a WebSocket that never reads is closed after the write deadline, even with little queued', async () => {
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 500 } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const sender = await DerpClient.connect(relay);
      for (const length of [65_536, 30_000]) {
        const before = openSockets();
        const { socket, client: frozen } = await login(relay);
        socket.wire.stopReading();
        // The next one only when the system has taken the last: the long ones pile up, of the short ones one is left.
        const isGone = () => relay.disconnected.length > (length === 30_000 ? 1 : 0);
        while (!isGone()) {
          const sent = relay.count('packets_sent');
          sender.sendPacket(frozen.key, numbered(0, length));
          await turn(10);
          if (length === 30_000)
            await eventually(() => isGone() || relay.count('packets_sent') > sent, 'the packet to leave');
          else await sender.fence();
        }
        expect(await relay.endOf(frozen.key)).toBe('write_timeout');
        // The relay's side is gone, though the client has read nothing of it.
        await eventually(
          () => openSockets() === before + 1,
          () => `the client’s socket to be the only one, not one of ${openSockets() - before}`,
        );
        await frozen.close();
      }
      await sender.close();
    });
    expect(relay.count('write_timeouts')).toBe(2);
  });

  it('a WebSocket with random bytes before and after its login ends and costs nothing else', async () => {
    const relay = await startRelay(lane, { tls });
    const random = seeded(SEED);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      await Promise.all(
        [...Array(30)].map(async (_, index) => {
          const [early, length] = [index % 3 === 0, 1 + Math.floor(random() * 3000)];
          const bytes = Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
          const socket = early ? await WebSocketClient.open(relay) : (await login(relay)).socket;
          // In a message that is right, or right away.
          socket.raw(random() < 0.5 ? clientFrame(bytes) : bytes);
          await socket.wire.flushed();
          if (index % 2 === 0 && !tls) socket.wire.reset();
          else await socket.wire.destroy();
        }),
      );
    });
    expect(relay.disconnected).toHaveLength(relay.connected.length - 2);
  });

  it('a WebSocket that sends half a login, half a header or nothing is closed at the deadline', async () => {
    const relay = await startRelay(lane, { tls, policy: { deadlines: { clientInfo: 300 } } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const info = new DerpClient(await Wire.open(relay.target()), relay.keys.publicKey);
      const parts = [NOTHING, Buffer.of(0x82), clientFrame(info.clientInfo.subarray(0, 60))];
      const sockets = await Promise.all(parts.map(() => WebSocketClient.open(relay)));
      for (const [index, part] of parts.entries()) if (part.length > 0) sockets[index]?.raw(part);
      for (const socket of sockets) expect(await socket.closeCode()).toBe(1000);
      for (const socket of sockets) await socket.wire.ended();
      for (const socket of sockets) socket.destroy();
      await info.close();
    });
    await relay.untilCount('logins_failed', 3);
  });
});

/** So that the wire's own bytes are what a test thinks they are. */
it('the test finds numbers where it looks for them', () => {
  expect(clientFrame(numbered(7, 8), { masked: false }).toString('hex')).toBe('82080000000700000000');
});
