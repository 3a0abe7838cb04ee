import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';

nothingIsLeft();

const TRANSPORTS = [
  { transport: 'plain TCP', tls: undefined },
  { transport: 'TLS 1.2', tls: { maxVersion: 'TLSv1.2' } },
  { transport: 'TLS 1.3', tls: { minVersion: 'TLSv1.3' } },
] as const;

describe.each(LANES)('packets, $name', (lane) => {
  it.each(TRANSPORTS)('packets of every size arrive in both directions, over $transport', async ({ tls }) => {
    const relay = await startRelay(lane, { tls: tls !== undefined });
    const options = { ...(tls && { tls }) };
    const [a, b] = [await DerpClient.connect(relay, options), await DerpClient.connect(relay, options)];
    const sizes = [0, 1, 61, 62, 1400, 16384, 65535, 65536];
    for (const size of sizes) {
      const packet = randomBytes(size);
      a.sendPacket(b.key, packet);
      expect(await b.expect('RecvPacket'), `${size} bytes`).toEqual({ type: 'RecvPacket', source: a.key, packet });
      b.sendPacket(a.key, packet);
      expect(await a.expect('RecvPacket'), `${size} bytes`).toEqual({ type: 'RecvPacket', source: b.key, packet });
    }
    expect(await a.fence()).toEqual([]);
    expect(await b.fence()).toEqual([]);
    const bytes = 2 * sizes.reduce((sum, size) => sum + size, 0);
    expect(relay.count('packets_received:other')).toBe(2 * sizes.length);
    expect(relay.count('bytes_received')).toBe(bytes);
    await relay.untilCount('packets_sent', 2 * sizes.length);
    await relay.untilCount('bytes_sent', bytes);
    expect(relay.drops()).toEqual({});
  });

  it('a packet of more than 64 KiB ends its connection, and is not relayed', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    a.sendPacket(b.key, 'before');
    a.sendPacket(b.key, Buffer.alloc(65537));
    await a.closed();
    expect(await relay.endOf(a.key)).toBe('protocol_error');
    expect(await b.expectPacket('before')).toBe(a.key);
    expect(await b.expect('PeerGone')).toMatchObject({ key: a.key });
    expect(relay.count('packets_received:other')).toBe(1);
  });

  it('packets cross between transports', async () => {
    const relay = await startRelay(lane, { tls: true });
    const old = await DerpClient.connect(relay, { tls: { maxVersion: 'TLSv1.2' }, start: 'switch' });
    const fresh = await DerpClient.connect(relay);
    old.sendPacket(fresh.key, 'up');
    expect(await fresh.expectPacket('up')).toBe(old.key);
    fresh.sendPacket(old.key, 'down');
    expect(await old.expectPacket('down')).toBe(fresh.key);
  });

  it('a client may send packets to itself', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    for (let count = 0; count < 10; count++) client.sendPacket(client.key, `echo ${count}`);
    for (let count = 0; count < 10; count++) expect(await client.expectPacket(`echo ${count}`)).toBe(client.key);
  });

  it('packets are counted by kind', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const almost = discoPacket(1, 61);
    const wrong = discoPacket(1);
    wrong[5] = 0;
    for (const packet of [discoPacket(), discoPacket(1, 1200), almost, wrong, Buffer.alloc(100)])
      a.sendPacket(b.key, packet);
    for (let count = 0; count < 5; count++) await b.expect('RecvPacket');
    expect(relay.count('packets_received:disco')).toBe(2);
    expect(relay.count('packets_received:other')).toBe(3);
  });

  it('packets keep their order, for each sender and kind', async () => {
    const relay = await startRelay(lane, { tls: true });
    const senders = await Promise.all([0, 1, 2].map(() => DerpClient.connect(relay)));
    const receiver = await DerpClient.connect(relay);
    const got = new Map(senders.map(({ key }) => [key, { disco: [] as number[], other: [] as number[] }]));
    receiver.onPacket = (source, packet) => {
      const kind = packet.length === 70 ? 'disco' : 'other';
      got.get(source)?.[kind].push(packet.readUInt32BE(8));
    };
    const rounds = 40;
    for (let round = 0; round < rounds; round++) {
      for (const sender of senders) {
        const packets = [
          discoPacket(0, 70),
          Buffer.alloc(1000),
          discoPacket(0, 70),
          Buffer.alloc(12),
          Buffer.alloc(30),
        ];
        const frames = packets.map((packet, index) => {
          packet.writeUInt32BE(round * packets.length + index, 8);
          return sendPacketFrame(receiver.key, packet);
        });
        sender.send(...frames);
      }
      for (const sender of senders) await sender.fence();
      await receiver.fence();
    }
    await relay.untilCount('packets_sent', rounds * senders.length * 5);
    await receiver.fence();
    for (const { key } of senders) {
      const { disco, other } = got.get(key) as { disco: number[]; other: number[] };
      expect(disco).toEqual(disco.toSorted((x, y) => x - y));
      expect(other).toEqual(other.toSorted((x, y) => x - y));
      expect(disco.length + other.length).toBe(rounds * 5);
    }
  });

  describe('packets to absent clients', () => {
    it('packets to an absent client are dropped without an answer', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.connect(relay);
      for (const packet of [Buffer.alloc(0), Buffer.alloc(62), Buffer.alloc(1400)]) {
        client.sendPacket(generateKeyPair().publicKey, packet);
      }
      expect(await client.fence()).toEqual([]);
      expect(relay.drops()).toEqual({ unknown_dest: 3 });
      expect(relay.count('packets_dropped:unknown_dest:other')).toBe(3);
      expect(relay.count('bytes_dropped:unknown_dest:other')).toBe(1462);
      expect(relay.count('packets_received:other')).toBe(3);
      expect(relay.count('packets_sent')).toBe(0);
    });

    it('discovery packets to an absent client get answers: three at once, then one a second', async () => {
      const relay = await startRelay(lane, { policy: { notHere: { burst: 3, perSecond: 0.001 } } });
      const [client, other] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const strangers = [...Array(8)].map(() => generateKeyPair().publicKey);
      for (const stranger of strangers) client.sendPacket(stranger, discoPacket());
      const told = await client.fence();
      expect(told).toEqual(strangers.slice(0, 3).map((key) => ({ type: 'PeerGone', key, reason: 1 })));
      // Others have a limit of their own.
      other.sendPacket(strangers[0] as typeof other.key, discoPacket());
      expect(await other.fence()).toEqual([{ type: 'PeerGone', key: strangers[0], reason: 1 }]);
      expect(relay.drops()).toEqual({ unknown_dest: 9 });
      expect(relay.count('packets_dropped:unknown_dest:disco')).toBe(9);
      expect(relay.count('bytes_dropped:unknown_dest:disco')).toBe(9 * 62);
      await relay.untilCount('peer_gone_not_here_frames', 4);
      expect(relay.count('peer_gone_disconnected_frames')).toBe(0);
    });

    it('answers about absent clients resume after a while', async () => {
      const relay = await startRelay(lane, { policy: { notHere: { burst: 1, perSecond: 10 } } });
      const client = await DerpClient.connect(relay);
      const stranger = generateKeyPair().publicKey;
      let answers = 0;
      let sent = 0;
      while (answers < 4) {
        client.sendPacket(stranger, discoPacket());
        sent += 1;
        answers += (await client.fence()).length;
      }
      // Else nothing was held back at all.
      expect(sent).toBeGreaterThan(answers);
    });

    it('packets to the relay’s own key, or to the zero key, are dropped', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.connect(relay);
      const zero = '\0'.repeat(32) as typeof client.key;
      client.sendPacket(relay.keys.publicKey, discoPacket());
      client.sendPacket(zero, discoPacket());
      expect(await client.fence()).toEqual([
        { type: 'PeerGone', key: relay.keys.publicKey, reason: 1 },
        { type: 'PeerGone', key: zero, reason: 1 },
      ]);
    });

    it('packets arrive from when their receiver connects until it leaves', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.connect(relay);
      const keys = generateKeyPair();
      client.sendPacket(keys.publicKey, 'too early');
      await client.fence();
      const late = await DerpClient.connect(relay, { keys });
      client.sendPacket(keys.publicKey, 'in time');
      expect(await late.expectPacket('in time')).toBe(client.key);
      await late.close();
      await relay.untilFigures({ connections: 1 });
      client.sendPacket(keys.publicKey, 'too late');
      await client.fence();
      expect(relay.drops()).toEqual({ unknown_dest: 2 });
    });
  });
});
