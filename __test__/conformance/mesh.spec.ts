import { duplexPair } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { sealClientInfo } from '../../src/protocol/login.js';
import { FrameType, PresenceFlag } from '../../src/protocol/wire.js';
import { type ClientOptions, DerpClient, discoPacket, type FrameOf } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { leave, MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { fill } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const LOOPBACK = '00000000000000000000ffff7f000001';

function meshPeer(relay: TestRelay, options: ClientOptions = {}): Promise<DerpClient> {
  return DerpClient.connect(relay, { meshKey: MESH_KEY, ...options });
}

/** What watchers are told of a client. */
function presence(client: DerpClient, more: Partial<FrameOf<'PeerPresent'>> = {}): FrameOf<'PeerPresent'> {
  const flags = PresenceFlag.Regular;
  return {
    type: 'PeerPresent',
    key: client.key,
    ip: LOOPBACK,
    port: client.wire.localPort,
    flags,
    appName: '',
    ...more,
  };
}

/** The next frames, in any order, are exactly these. */
async function expectPresent(watcher: DerpClient, wanted: readonly FrameOf<'PeerPresent'>[]): Promise<void> {
  const got: unknown[] = [];
  for (const _ of wanted) got.push(await watcher.expect('PeerPresent'));
  expect(byKey(got)).toEqual(byKey(wanted));
}

function byKey(frames: readonly unknown[]): unknown[] {
  const key = (frame: unknown) => {
    const { key, port } = frame as FrameOf<'PeerPresent'>;
    return `${key}${port}`;
  };
  return frames.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

/** Whatever the relay has for the client has been asked for, and is here: nothing. */
async function expectNothing(relay: TestRelay, client: DerpClient): Promise<void> {
  await relay.commandsDone();
  expect(await client.fence()).toEqual([]);
}

describe.each(LANES_AND_TLS)('mesh peers, $name', (lane) => {
  describe('watching', () => {
    it('a watcher is told every connected client, itself included', async () => {
      const relay = await startRelay(lane);
      const regular = await DerpClient.connect(relay);
      const prober = await DerpClient.connect(relay, { prober: true });
      const notIdeal = await DerpClient.connect(relay, { idealNode: 'x' });
      const both = await DerpClient.connect(relay, { prober: true, idealNode: 'x' });
      const named = await DerpClient.connect(relay, { appName: 'an app' });
      const longName = await DerpClient.connect(relay, { appName: 'x'.repeat(32) });
      const peer = await meshPeer(relay);
      const watcher = await meshPeer(relay, { idealNode: 'y' });
      watcher.watch();
      await expectPresent(watcher, [
        presence(regular),
        presence(prober, { flags: PresenceFlag.Prober }),
        presence(notIdeal, { flags: PresenceFlag.NotIdeal }),
        presence(both, { flags: PresenceFlag.Prober | PresenceFlag.NotIdeal }),
        presence(named, { appName: 'an app' }),
        presence(longName, { appName: 'x'.repeat(32) }),
        presence(peer, { flags: PresenceFlag.MeshPeer }),
        presence(watcher, { flags: PresenceFlag.MeshPeer | PresenceFlag.NotIdeal }),
      ]);
      await expectNothing(relay, watcher);
      await relay.untilFigures({ watchers: 1 });
      // No other client is told anything.
      for (const client of [regular, peer]) expect(await client.fence()).toEqual([]);
    });

    it('a watcher is told when clients connect and leave', async () => {
      const relay = await startRelay(lane);
      const watchers = [await meshPeer(relay), await meshPeer(relay)];
      for (const watcher of watchers) {
        watcher.watch();
        for (let peers = 0; peers < 2; peers++) await watcher.expect('PeerPresent');
      }
      const client = await DerpClient.connect(relay, { appName: 'fresh' });
      for (const watcher of watchers) {
        expect(await watcher.expect('PeerPresent')).toEqual(presence(client, { appName: 'fresh' }));
      }
      await leave(relay, client);
      for (const watcher of watchers) {
        expect(await watcher.expect('PeerGone')).toEqual({ type: 'PeerGone', key: client.key, reason: 0 });
        await expectNothing(relay, watcher);
      }
      await relay.untilCount('peer_gone_disconnected_frames', 2);
    });

    it('watchers are told of each other until they leave', async () => {
      const relay = await startRelay(lane);
      const [first, second] = [await meshPeer(relay), await meshPeer(relay)];
      first.watch();
      for (let peers = 0; peers < 2; peers++) await first.expect('PeerPresent');
      second.watch();
      for (let peers = 0; peers < 2; peers++) await second.expect('PeerPresent');
      await relay.untilFigures({ watchers: 2 });
      await leave(relay, second);
      expect(await first.expect('PeerGone')).toMatchObject({ key: second.key });
      await relay.untilFigures({ watchers: 1 });
    });

    it('a watcher is told of every duplicate, and that the key is gone with the last', async () => {
      const relay = await startRelay(lane);
      const watcher = await meshPeer(relay);
      watcher.watch();
      await watcher.expect('PeerPresent');
      const first = await DerpClient.connect(relay);
      expect(await watcher.expect('PeerPresent')).toEqual(presence(first));
      const second = await DerpClient.connect(relay, { keys: first.keys, appName: 'second' });
      expect(await watcher.expect('PeerPresent')).toEqual(presence(second, { appName: 'second' }));
      await leave(relay, first);
      await expectNothing(relay, watcher);
      await leave(relay, second);
      expect(await watcher.expect('PeerGone')).toEqual({ type: 'PeerGone', key: first.key, reason: 0 });
      await expectNothing(relay, watcher);
    });

    it('a dump names each key once, as its active connection', async () => {
      const relay = await startRelay(lane);
      const first = await DerpClient.connect(relay, { appName: 'first' });
      const second = await DerpClient.connect(relay, { keys: first.keys, appName: 'second' });
      const watcher = await meshPeer(relay);
      const own = presence(watcher, { flags: PresenceFlag.MeshPeer });
      const dump = async () => {
        watcher.watch();
        const frames = [await watcher.expect('PeerPresent'), await watcher.expect('PeerPresent')];
        expect(frames).toContainEqual(own);
        return frames.find(({ key }) => key === first.key);
      };
      expect(await dump()).toEqual(presence(second, { appName: 'second' }));
      await first.fence();
      // Which one is active is told to the control plane in its own time.
      await eventually(async () => (await dump())?.appName === 'first', 'the first one to be announced');
      await leave(relay, first);
      await eventually(async () => (await dump())?.appName === 'second', 'the second one to be announced');
    });

    it('a watcher gets a new dump when it watches again', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.connect(relay);
      const watcher = await meshPeer(relay);
      for (let time = 0; time < 3; time++) {
        watcher.watch();
        await expectPresent(watcher, [presence(client), presence(watcher, { flags: PresenceFlag.MeshPeer })]);
      }
      const late = await DerpClient.connect(relay);
      expect(await watcher.expect('PeerPresent')).toEqual(presence(late));
      await expectNothing(relay, watcher);
      await relay.untilFigures({ watchers: 1 });
    });

    it('a watcher that is the relay itself is told nothing', async () => {
      const relay = await startRelay(lane);
      const self = await meshPeer(relay, { keys: relay.keys });
      self.watch();
      // Behind it on the same connection, so when this has arrived, that has.
      self.notePreferred(true);
      await relay.untilFigures({ home: 1 });
      await DerpClient.connect(relay);
      await expectNothing(relay, self);
      await relay.untilFigures({ watchers: 0, connections: 2 });
    });

    it('a watcher is told of clients without an address, and of IPv6 clients', async () => {
      const relay = await startRelay(lane);
      const attach = async (address: string) => {
        const [ours, theirs] = duplexPair();
        const client = DerpClient.over(ours, relay);
        await relay.dataPlane.attach(theirs, { address, port: 7 });
        return client;
      };
      const [unknown, v6] = [await attach(''), await attach('2001:db8::1:2')];
      const watcher = await meshPeer(relay);
      watcher.watch();
      await expectPresent(watcher, [
        { ...presence(watcher), flags: PresenceFlag.MeshPeer },
        { ...presence(unknown), ip: '0'.repeat(32), port: 0 },
        { ...presence(v6), ip: '20010db8000000000000000000010002', port: 7 },
      ]);
    });

    it('a watcher is told thousands of clients, however few fit into its queue', async () => {
      // A crowd that logs in all at once may take its time.
      const deadlines = { meshWrite: 0, clientInfo: 600_000, admission: 600_000 };
      const policy = { limits: { controlBytes: 48 << 10 }, deadlines };
      const relay = await startRelay(lane, { policy, config: { tcpUserTimeout: 0 } });
      const [watcher, sender] = [await meshPeer(relay), await DerpClient.connect(relay)];
      const crowd = await attachCrowd(relay, 2000);
      watcher.onPacket = () => undefined;
      // The dump begins where nothing gets through, and has to wait, part by part.
      watcher.wire.stopReading();
      await fill(relay, sender, watcher);
      watcher.watch();
      await relay.untilFigures({ watchers: 1 });
      const late = await DerpClient.connect(relay);
      await relay.commandsDone();
      expect(relay.disconnected).toEqual([]);
      watcher.wire.goOnReading();
      const seen = new Map<NodeKey, number>();
      while (seen.size < crowd.length + 3) {
        const { key, ip } = await watcher.expect('PeerPresent');
        expect(ip).toBe(LOOPBACK);
        seen.set(key, (seen.get(key) ?? 0) + 1);
      }
      const everyone = [...crowd, watcher.key, sender.key, late.key];
      expect(everyone.filter((key) => !seen.has(key))).toEqual([]);
      // Only a client that came during the dump may be announced twice.
      expect(everyone.filter((key) => key !== late.key && seen.get(key) !== 1)).toEqual([]);
      await relay.commandsDone();
      const more = await watcher.fence();
      expect(more.every((frame) => frame.type === 'PeerPresent' && frame.key === late.key)).toBe(true);
      expect(relay.disconnected).toEqual([]);
    });

    it('a watcher that does not read is closed when too much is queued for it', async () => {
      const policy = { limits: { controlBytes: 1000 } };
      const relay = await startRelay(lane, { policy, config: { tcpUserTimeout: 0 } });
      const [watcher, other] = [await meshPeer(relay), await meshPeer(relay)];
      for (const peer of [watcher, other]) {
        peer.watch();
        for (let peers = 0; peers < 2; peers++) await peer.expect('PeerPresent');
      }
      const sender = await DerpClient.connect(relay);
      await watcher.expect('PeerPresent');
      watcher.wire.stopReading();
      await fill(relay, sender, watcher);
      // Each of them is 57 bytes that stay.
      let coming = 0;
      while (relay.disconnected.length === 0) {
        await DerpClient.connect(relay);
        coming += 1;
        expect(coming).toBeLessThan(40);
      }
      expect(await relay.endOf(watcher.key)).toBe('control_overflow');
      // Not before the limit: 17 frames fit.
      expect(coming).toBeGreaterThan(16);
      const told: string[] = [];
      while (told.length < coming + 2) told.push((await other.next()).type);
      expect(told.toSorted()).toEqual(['PeerGone', ...Array(coming + 1).fill('PeerPresent')]);
      await relay.untilFigures({ watchers: 1 });
    });
  });

  describe('forwarding', () => {
    it('a forwarded packet arrives with the source that it names', async () => {
      const relay = await startRelay(lane);
      const [peer, client] = [await meshPeer(relay), await DerpClient.connect(relay)];
      const source = generateKeyPair().publicKey;
      const packets = [Buffer.alloc(0), Buffer.from('x'), discoPacket(3), Buffer.alloc(65536, 9)];
      for (const packet of packets) {
        peer.forwardPacket(source, client.key, packet);
        expect(await client.expect('RecvPacket')).toEqual({ type: 'RecvPacket', source, packet });
      }
      expect(await peer.fence()).toEqual([]);
      expect(relay.count('packets_forwarded_in')).toBe(packets.length);
      expect(relay.count('packets_received:disco') + relay.count('packets_received:other')).toBe(0);
      expect(relay.count('bytes_received')).toBe(0);
      await relay.untilCount('packets_sent', packets.length);
      expect(relay.count('packets_forwarded_out')).toBe(0);
    });

    it('a forwarded packet without a source arrives without one', async () => {
      const relay = await startRelay(lane);
      const [peer, client] = [await meshPeer(relay), await DerpClient.connect(relay)];
      peer.forwardPacket('\0'.repeat(32) as NodeKey, client.key, 'old');
      // The first version of RecvPacket: the packet and nothing else.
      expect(await client.expect('Odd')).toEqual({ type: 'Odd', code: FrameType.RecvPacket, body: Buffer.from('old') });
      expect(await client.fence()).toEqual([]);
    });

    it('a mesh peer is told if a forwarded discovery packet has no receiver', async () => {
      const relay = await startRelay(lane, { policy: { notHere: { burst: 3, perSecond: 0.001 } } });
      const [peer, source] = [await meshPeer(relay), await DerpClient.connect(relay)];
      const stranger = generateKeyPair().publicKey;
      peer.forwardPacket(source.key, stranger, Buffer.alloc(100));
      for (let count = 0; count < 5; count++) peer.forwardPacket(source.key, stranger, discoPacket());
      const gone = { type: 'PeerGone', key: stranger, reason: 1 };
      expect(await peer.fence()).toEqual([gone, gone, gone]);
      expect(await source.fence()).toEqual([]);
      expect(relay.drops()).toEqual({ unknown_dest_on_fwd: 6 });
      expect(relay.count('packets_dropped:unknown_dest_on_fwd:disco')).toBe(5);
      expect(relay.count('bytes_dropped:unknown_dest_on_fwd:other')).toBe(100);
      expect(relay.count('packets_forwarded_in')).toBe(6);
    });

    it('a mesh peer may also send packets of its own', async () => {
      const relay = await startRelay(lane);
      const [peer, client] = [await meshPeer(relay), await DerpClient.connect(relay)];
      peer.sendPacket(client.key, 'from a peer');
      expect(await client.expectPacket('from a peer')).toBe(peer.key);
      client.sendPacket(peer.key, 'to a peer');
      expect(await peer.expectPacket('to a peer')).toBe(client.key);
    });
  });

  describe('closing clients', () => {
    it('a mesh peer closes all connections of a key, and nothing else', async () => {
      const relay = await startRelay(lane);
      const peer = await meshPeer(relay);
      const first = await DerpClient.connect(relay);
      const others = [
        await DerpClient.connect(relay, { keys: first.keys }),
        await DerpClient.connect(relay, { keys: first.keys }),
      ];
      const bystander = await DerpClient.connect(relay);
      peer.closePeer(first.key);
      for (const client of [first, ...others]) await client.closed();
      await relay.untilFigures({ connections: 2 });
      expect(relay.disconnected.map(({ reason }) => reason)).toEqual(Array(3).fill('closed_by_peer'));
      expect(await bystander.fence()).toEqual([]);
      expect(await peer.fence()).toEqual([]);
      // It may come back at once.
      expect(await (await DerpClient.connect(relay, { keys: first.keys })).fence()).toEqual([]);
    });

    it('closing an absent client changes nothing', async () => {
      const relay = await startRelay(lane);
      const [peer, client] = [await meshPeer(relay), await DerpClient.connect(relay)];
      peer.closePeer(generateKeyPair().publicKey);
      peer.notePreferred(true);
      await relay.untilFigures({ home: 1 });
      await relay.commandsDone();
      expect(await client.fence()).toEqual([]);
      expect(await peer.fence()).toEqual([]);
    });

    it('a mesh peer may close itself', async () => {
      const relay = await startRelay(lane);
      const peer = await meshPeer(relay);
      peer.closePeer(peer.key);
      await peer.closed();
      expect(await relay.endOf(peer.key)).toBe('closed_by_peer');
    });
  });
});

/** Many clients that only log in, over streams in memory. Returns their keys. */
async function attachCrowd(relay: TestRelay, count: number): Promise<NodeKey[]> {
  const { connections } = relay.relay.figures();
  const keys: NodeKey[] = [];
  for (let client = 0; client < count; client++) {
    const pair = generateKeyPair();
    const [ours, theirs] = duplexPair();
    onTestFinished(() => void ours.destroy());
    ours.resume();
    ours.write(sealClientInfo(pair, relay.keys.publicKey, '{"version":2}'));
    keys.push(pair.publicKey);
    void relay.dataPlane.attach(theirs, { address: '127.0.0.1', port: 1 });
  }
  await relay.untilFigures({ connections: connections + count });
  await relay.commandsDone();
  return keys;
}
