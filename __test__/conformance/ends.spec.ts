import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { peerPresentFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { OtherRelay } from '../helpers/other-relay.js';
import { NO_RIGHTS, PlaneHarness } from '../helpers/plane-harness.js';
import { MESH_KEY, ownCertificate, startRelay, type TestRelay } from '../helpers/relay.js';
import { BAD_RECORD, SealedClient } from '../helpers/sealed.js';
import { fill, numbered, QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';
import { clientFrame, closePayload, Opcode, WebSocketClient } from '../helpers/websocket.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

/** How a client ends its connection behind the last byte that it has sent. */
const WAYS = ['end', 'reset', 'close unread'] as const;
type Way = (typeof WAYS)[number];
const FACES = (['tcp', 'tls'] as const).flatMap((face) => WAYS.map((way) => ({ face, way })));

async function leave({ wire }: { readonly wire: Wire }, way: Way): Promise<void> {
  await wire.flushed();
  if (way === 'end') wire.end();
  else if (way === 'reset') wire.reset();
  else await wire.destroy();
}

/** Has something lie in a client's socket that it does not read: closing it is a reset then. */
async function leaveUnread(client: DerpClient, from: DerpClient): Promise<void> {
  client.wire.stopReading();
  // More than Node reads without a request.
  for (let number = 0; number < 8; number++) from.sendPacket(client.key, numbered(number));
  await from.fence();
}

function row(to: DerpClient, count: number, length = 1000): Buffer[] {
  return Array.from({ length: count }, (_, number) => sendPacketFrame(to.key, numbered(number, length)));
}

async function expectRow(receiver: DerpClient, count: number): Promise<void> {
  for (let number = 0; number < count; number++)
    expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(number);
}

async function overWebSocket(relay: TestRelay): Promise<{ socket: WebSocketClient; client: DerpClient }> {
  const socket = await WebSocketClient.open(relay);
  const client = new DerpClient(new Wire(socket), relay.keys.publicKey, { start: 'none' });
  await client.login();
  return { socket, client };
}

describe.each(LANES_AND_TLS)('the last data of a client, $name', (lane) => {
  it.each(FACES.filter(({ way }) => way !== 'close unread'))(
    'data and end of a client wait for its admission: $way over $face',
    async ({ face, way }) => {
      const harness = await PlaneHarness.open(lane, {}, face);
      const { client: receiver } = await harness.admitted();
      // The second is more than is read ahead of an admission; a reset would take back what does not fit.
      for (const count of way === 'end' ? [1, 30] : [1]) {
        const { client, login } = await harness.loggingIn();
        client.send(...row(receiver, count, 4000));
        await leave(client, way);
        // The end is there, and would be seen by now.
        for (let time = 0; time < 20; time++) expect(await receiver.fence()).toEqual([]);
        expect(harness.ends.has(login.id)).toBe(false);
        harness.plane.admit(login.id, NO_RIGHTS);
        await expectRow(receiver, count);
        expect(await harness.endOf(login.id)).toBe('disconnected');
      }
    },
  );

  it('a client that sent nothing ahead ends without waiting for admission', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, login } = await harness.loggingIn();
    client.wire.end();
    expect(await harness.endOf(login.id)).toBe('disconnected');
  });

  it.each(['tcp', 'tls'] as const)('a refusal discards what a client sent ahead, over %s', async (face) => {
    const harness = await PlaneHarness.open(lane, {}, face);
    const { client: receiver } = await harness.admitted();
    const { client, login } = await harness.loggingIn();
    client.send(...row(receiver, 1));
    await leave(client, 'end');
    harness.plane.refuse(login.id);
    expect(await harness.endOf(login.id)).toBe('refused');
    expect(await receiver.fence()).toEqual([]);
  });

  it.each([false, true])('packets in one write with request and login arrive; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const receiver = await DerpClient.connect(relay);
    for (let time = 0; time < 20; time++) {
      const client = await DerpClient.dial(relay);
      client.wire.write(client.head, client.clientInfo, ...row(receiver, 3));
      client.wire.end();
      await expectRow(receiver, 3);
      expect(await receiver.expect('PeerGone')).toMatchObject({ key: client.key });
      expect(await relay.endOf(client.key)).toBe('disconnected');
    }
  });

  it.each([false, true])('packets sent right after ServerInfo arrive before the end; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const receiver = await DerpClient.connect(relay);
    for (let time = 0; time < 60; time++) {
      const client = await DerpClient.connect(relay);
      client.send(...row(receiver, 1 + (time % 3)));
      client.wire.end();
      await expectRow(receiver, 1 + (time % 3));
      await receiver.expect('PeerGone');
    }
  });

  it.each(FACES)('everything arrives that a client sent before $way over $face', async ({ face, way }) => {
    const relay = await startRelay(lane, { tls: face === 'tls' });
    const receiver = await DerpClient.connect(relay);
    const sender = await DerpClient.connect(relay);
    for (let time = 0; time < 5; time++) {
      const client = await DerpClient.connect(relay);
      if (way === 'close unread') await leaveUnread(client, sender);
      // Fewer than a queue has room for: the receiver may be busy.
      client.send(...row(receiver, QUEUE_DEPTH));
      await leave(client, way);
      await expectRow(receiver, QUEUE_DEPTH);
      expect(await relay.endOf(client.key)).toBe('disconnected');
      await receiver.expect('PeerGone');
    }
  });

  it.each(FACES.filter(({ way }) => way !== 'close unread'))(
    'data and end of a client wait for its receive limit: $way over $face',
    async ({ face, way }) => {
      const harness = await PlaneHarness.open(lane, { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } }, face);
      const { client, id } = await harness.admitted();
      const { client: receiver } = await harness.admitted();
      client.sendPacket(receiver.key, numbered(99, 65_536 - 32));
      client.sendPacket(receiver.key, numbered(99));
      for (let time = 0; time < 2; time++) expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(99);
      expect(harness.plane.counters.read('rate_limit_waits')).toBe(1);
      client.send(...row(receiver, 10));
      await leave(client, way);
      const { client: other } = await harness.admitted();
      for (let time = 0; time < 20; time++) expect(await other.fence()).toEqual([]);
      expect(harness.ends.has(id)).toBe(false);
      harness.plane.policy(harness.policy({ receiveRate: null }));
      await expectRow(receiver, 10);
      expect(await harness.endOf(id)).toBe('disconnected');
    },
  );

  it.each(['a record that does not open', 'a fatal alert'])(
    'data of a client waits for its receive limit ahead of %s',
    async (violation) => {
      const harness = await PlaneHarness.open(lane, { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } }, 'tls');
      const { client: receiver } = await harness.admitted();
      const sealed = await SealedClient.open({ host: '127.0.0.1', port: harness.port, tls: {} });
      const client = new DerpClient(new Wire(sealed.tls), harness.keys.publicKey);
      const loggedIn = client.login();
      const { id } = await eventually(() => harness.logins.find(({ key }) => key === client.key), 'a login');
      harness.plane.admit(id, NO_RIGHTS);
      await loggedIn;
      client.sendPacket(receiver.key, numbered(99, 65_536 - 32));
      client.sendPacket(receiver.key, numbered(99));
      for (let time = 0; time < 2; time++) expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(99);
      for (const frame of row(receiver, 10)) client.send(frame);
      await client.wire.flushed();
      sealed.send(violation === 'a fatal alert' ? await sealed.fatalAlert() : BAD_RECORD);
      const { client: other } = await harness.admitted();
      for (let time = 0; time < 20; time++) expect(await other.fence()).toEqual([]);
      harness.plane.policy(harness.policy({ receiveRate: null }));
      await expectRow(receiver, 10);
      await harness.endOf(id);
    },
  );

  it.each([false, true])('packets of a WebSocket that closes in the same write arrive; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const receiver = await DerpClient.connect(relay);
    const close = clientFrame(closePayload(1000), { opcode: Opcode.Close });
    for (let time = 0; time < 20; time++) {
      const { socket, client } = await overWebSocket(relay);
      socket.raw(...row(receiver, 3).map((frame) => clientFrame(frame)), close);
      await expectRow(receiver, 3);
      expect(await socket.closeCode()).toBe(1000);
      expect(await relay.endOf(client.key)).toBe('disconnected');
      await receiver.expect('PeerGone');
    }
  });

  it.each([
    ['its close frame', false],
    ['its close frame', true],
    ['the end of its connection', false],
    ['the end of its connection', true],
  ])('packets of a WebSocket in one write with request, login and %s arrive; TLS %s', async (how, tls) => {
    const relay = await startRelay(lane, { tls });
    const receiver = await DerpClient.connect(relay);
    for (let time = 0; time < 10; time++) {
      const { clientInfo } = new DerpClient(receiver.wire, relay.keys.publicKey);
      const frames = [clientInfo, ...row(receiver, 3)].map((frame) => clientFrame(frame));
      const close = clientFrame(closePayload(1000), { opcode: Opcode.Close });
      const isFrame = how === 'its close frame';
      const { wire } = await WebSocketClient.open(relay, {
        behind: isFrame ? [...frames, close] : frames,
        ends: !isFrame,
      });
      await expectRow(receiver, 3);
      await receiver.expect('PeerGone');
      await wire.ended();
    }
  });

  it('the last packets of a mesh peer arrive', async () => {
    const relay = await startRelay(lane);
    const receiver = await DerpClient.connect(relay);
    for (let time = 0; time < 20; time++) {
      const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
      peer.forwardPacket(peer.key, receiver.key, 'forwarded');
      peer.closePeer(peer.key);
      peer.sendPacket(receiver.key, 'sent');
      peer.wire.end();
      expect(await receiver.expectPacket('forwarded')).toBe(peer.key);
      expect(await receiver.expectPacket('sent')).toBe(peer.key);
      await receiver.expect('PeerGone');
    }
  });
});

describe.each(LANES_AND_TLS)('the last data of another relay, $name', (lane) => {
  // Node does not reset what it has accepted over TLS.
  it.each(FACES.filter(({ face, way }) => way === 'end' || (way === 'reset' && face === 'tcp')))(
    'all that another relay announces is heard before its end: $way over $face',
    async ({ face, way }) => {
      const harness = await PlaneHarness.open(lane);
      const other = await OtherRelay.start(face === 'tls');
      const keys = Array.from({ length: 100 }, () => generateKeyPair().publicKey);
      const address = { address: '127.0.0.1', port: other.port };
      const roots = face === 'tls' ? [new X509Certificate(ownCertificate().chain).raw] : null;
      const target = { host: 'localhost', authority: `localhost:${other.port}`, meshKey: MESH_KEY, timeout: 10_000 };
      harness.plane.dial(1, { ...target, address, roots, watch: true });
      const end = await other.linked();
      end.send(...keys.map((key) => peerPresentFrame({ key, address: '192.0.2.1', port: 1, flags: 0, appName: '' })));
      await leave(end, way);
      await eventually(
        () => harness.told.includes('the end'),
        () => `the end of the link; it has said ${harness.told.length} things`,
      );
      expect(harness.told).toEqual([...keys, 'the end']);
    },
  );
});

describe.each(LANES_AND_TLS)('a client that ends only its sending side, $name', (lane) => {
  const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

  it.each([false, true])('a half-closed client gets the frames that it caused; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    for (let time = 0; time < 20; time++) {
      const client = await DerpClient.connect(relay);
      client.sendPacket(client.key, 'to myself');
      client.ping(Buffer.alloc(8, time));
      client.wire.end();
      await client.closed();
      const came = [await client.next(), await client.next()].map(({ type }) => type);
      expect(came.toSorted()).toEqual(['Pong', 'RecvPacket']);
    }
  });

  it.each([false, true])(
    'a half-closed client gets its queued packets, although it has left for others; TLS %s',
    async (tls) => {
      const relay = await startRelay(lane, { tls, config: FOR_EVER });
      const [sender, client] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const got: number[] = [];
      client.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
      client.wire.stopReading();
      const sent = await fill(relay, sender, client);
      client.wire.end();
      expect(await relay.endOf(client.key)).toBe('disconnected');
      sender.sendPacket(client.key, numbered(sent));
      await sender.fence();
      client.wire.goOnReading();
      await client.closed();
      const dropped = relay.drops().queue_head as number;
      expect(got).toHaveLength(sent - dropped);
      expect(got.slice(-QUEUE_DEPTH)).toEqual(Array.from({ length: QUEUE_DEPTH }, (_, at) => sent - QUEUE_DEPTH + at));
      expect(relay.drops()).toEqual({ queue_head: dropped, unknown_dest: 1 });
      expect(relay.count('packets_sent')).toBe(sent - dropped);
    },
  );

  it.each([false, true])(
    'a half-closed client that does not read is closed after the write deadline; TLS %s',
    async (tls) => {
      const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 500 } });
      const sender = await DerpClient.connect(relay);
      const before = openSockets();
      const client = await DerpClient.connect(relay);
      client.wire.stopReading();
      const sent = await fill(relay, sender, client, 1);
      client.wire.end();
      expect(await relay.endOf(client.key)).toBe('disconnected');
      const lost = () => Object.values(relay.drops()).reduce((sum, count) => sum + count, 0);
      await eventually(
        () => relay.count('packets_sent') + lost() === sent,
        () => `${sent} packets to be accounted for: ${JSON.stringify(relay.drops())}`,
      );
      expect(relay.drops().gone_disconnected).toBeGreaterThan(0);
      // The client's own is one of them.
      await eventually(() => openSockets() === before + 1, 'its socket to be closed');
    },
  );
});
