/** Relays of one region, as their clients see them: the relay of a client makes no difference. */

import { describe, expect, it } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { peerPresentFrame } from '../../src/protocol/frame.js';
import { formatNodeKey, generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { PeerGoneReason } from '../../src/protocol/wire.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { idsOf, meshed, meshNode, named, startMesh, trustOwnCertificate } from '../helpers/mesh.js';
import { MESH_KEY, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** A client that every other relay knows of. */
async function join(relay: TestRelay, others: readonly TestRelay[], keys = generateKeyPair()): Promise<DerpClient> {
  const before = others.map((other) => announcements(other));
  const client = await DerpClient.connect(relay, { keys });
  await eventually(
    () => others.every((other, index) => announcements(other) > (before[index] as number)),
    'the client to be announced',
  );
  await Promise.all(others.map((other) => other.commandsDone()));
  return client;
}

/** Keys that links of this relay have announced, each as often as it was. */
function announcements(relay: TestRelay): number {
  return relay.relay.mesh().reduce((sum, { peers }) => sum + peers, 0);
}

/** A text that arrives, after which everything sent before has arrived too. */
async function passes(from: DerpClient, to: DerpClient, text: string): Promise<void> {
  from.sendPacket(to.key, text);
  expect(await to.expectPacket(text)).toBe(from.key);
}

/** What `/debug/varz` says, by name and labels. */
async function metricsOf(relay: TestRelay): Promise<Map<string, number>> {
  const { body } = await ask(relay.target({}), '/debug/varz');
  return new Map([...body.matchAll(/^([a-z]\S*) (\d+)$/gm)].map(([, name, value]) => [name as string, Number(value)]));
}

describe.each(LANES)('relays that mesh, $name', (lane) => {
  it('the page of the fleet has the relays of the mesh, and says at which of them a key is', async () => {
    const [a, b, c] = (await startMesh(lane, 3)) as [TestRelay, TestRelay, TestRelay];
    const bob = await join(b, [a, c]);
    const asked = async (relay: TestRelay, key: NodeKey) => {
      const { status, body } = await ask(relay.target({}), `/debug/fleet.json?key=${formatNodeKey(key)}`);
      expect(status).toBe(200);
      return JSON.parse(body);
    };
    const there = named(b.relay.address?.derp.port as number);
    const elsewhere = { relay: b.relay.publicKey, address: there, generation: null };
    const key = { key: formatNodeKey(bob.key), trouble: '' };
    const report = await asked(a, bob.key);
    expect(report).toMatchObject({
      mode: 'full',
      directory: null,
      relays: [],
      key: { ...key, here: false, elsewhere },
    });
    expect(report.here.load).toMatchObject({ clients: 0, links: 2 });
    expect((await asked(b, bob.key)).here.load).toMatchObject({ clients: 1, links: 2 });
    expect(b.relay.figures()).toMatchObject({ connections: 3, meshPeers: 2, localKeys: 3, meshPeerKeys: 2 });
    expect(report.mesh.map(({ relay }: { relay: string }) => relay).sort()).toEqual(
      [b, c].map(({ relay }) => relay.publicKey).sort(),
    );
    expect((await asked(b, bob.key)).key).toEqual({ ...key, here: true, elsewhere: null });
    expect((await asked(a, generateKeyPair().publicKey)).key).toMatchObject({
      here: false,
      elsewhere: null,
      trouble: '',
    });
    // Relays that mesh are clients of each other, and no client that an operator looks for.
    expect((await asked(a, b.keys.publicKey)).key).toMatchObject({ here: false });
    await bob.close();
    await eventually(async () => (await asked(a, bob.key)).key.elsewhere === null, 'the key to be nowhere');
  });

  it('meshed relays carry packets both ways, each way in order, and count them', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const bob = await join(b, [a]);
    for (let number = 0; number < 100; number++) {
      alice.sendPacket(bob.key, `to bob ${number}`);
      bob.sendPacket(alice.key, `to alice ${number}`);
    }
    for (let number = 0; number < 100; number++) {
      expect(await bob.expectPacket(`to bob ${number}`)).toBe(alice.key);
      expect(await alice.expectPacket(`to alice ${number}`)).toBe(bob.key);
    }
    alice.sendPacket(bob.key, discoPacket(7));
    expect(await bob.expect('RecvPacket')).toEqual({ type: 'RecvPacket', source: alice.key, packet: discoPacket(7) });
    expect([a, b].map((node) => node.count('packets_forwarded_out'))).toEqual([101, 100]);
    expect([a, b].map((node) => node.count('packets_forwarded_in'))).toEqual([100, 101]);
    expect([a, b].map((node) => node.count('packets_received:other'))).toEqual([100, 100]);
    await eventually(() => b.count('packets_sent') === 101, 'packets to be counted');
    expect([a, b].map((node) => node.drops())).toEqual([{}, {}]);
    const { links } = await a.dataPlane.snapshot(0, 0);
    const bytes = [...Array(100).keys()].reduce((sum, number) => sum + `to bob ${number}`.length, discoPacket().length);
    // The last figure counts announcements: of the relay itself, of the other, and of two clients.
    expect([...links]).toEqual([expect.any(Number), 101, bytes, 0, 0, expect.any(Number)]);
  });

  it('meshed relays carry packets of the greatest length', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const [alice, bob] = [await join(a, [b]), await join(b, [a])];
    for (const length of [0, 1, 65535, 65536]) {
      const packet = Buffer.alloc(length, length % 251);
      alice.sendPacket(bob.key, packet);
      expect((await bob.expect('RecvPacket')).packet.equals(packet)).toBe(true);
    }
  });

  it('meshed relays report a peer that leaves the region to those that had its packets, and to no others', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const [bob, carol] = [await join(b, [a]), await join(b, [a])];
    await passes(alice, bob, 'hello');
    await passes(bob, alice, 'hello yourself');
    await alice.close();
    expect(await bob.expect('PeerGone')).toEqual({ type: 'PeerGone', key: alice.key, reason: 0 });
    expect(await carol.fence()).toEqual([]);
    // No route leads there any more.
    bob.sendPacket(alice.key, discoPacket());
    expect(await bob.expect('PeerGone')).toEqual({ type: 'PeerGone', key: alice.key, reason: 1 });
  });

  it('a relay forgets a peer that the other relay turns out not to have', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const ghost = generateKeyPair().publicKey;
    const before = announcements(a);
    b.dataPlane.send(idsOf(b, a.keys.publicKey), peerPresentFrame(presenceOf(ghost)));
    await eventually(() => announcements(a) === before + 1, 'the ghost to be announced');
    await a.commandsDone();
    alice.sendPacket(ghost, discoPacket());
    await eventually(() => announcements(a) === before, 'the ghost to be forgotten');
    expect(b.drops()).toEqual({ unknown_dest_on_fwd: 1 });
    expect(b.count('peer_gone_not_here_frames')).toBe(1);
    await a.commandsDone();
    alice.sendPacket(ghost, discoPacket());
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: ghost, reason: 1 });
    expect(a.count('packets_forwarded_out')).toBe(1);
  });

  it('a relay prefers its own connection of a key, and falls back on the other relay’s', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const there = await join(b, [a]);
    await passes(alice, there, 'over the link');
    const here = await join(a, [], there.keys);
    await passes(alice, here, 'at home');
    expect(await there.fence()).toEqual([]);
    const forwarded = a.count('packets_forwarded_out');
    const { connections } = a.relay.figures();
    await here.close();
    await a.untilFigures({ connections: connections - 1 });
    await a.commandsDone();
    await passes(alice, there, 'over the link again');
    expect(a.count('packets_forwarded_out')).toBe(forwarded + 1);
    // It has never left the region.
    expect(await alice.fence()).toEqual([]);
  });

  it('meshed relays report nothing when a client moves from one to the other', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const bob = await join(b, [a]);
    await passes(bob, alice, 'from there');
    const moved = await join(a, [b], bob.keys);
    await bob.close();
    await eventually(() => !idsOf(b, bob.key).length, 'the old connection to end');
    await passes(moved, alice, 'from here');
    await passes(alice, moved, 'to here');
    expect(await alice.fence()).toEqual([]);
    expect(a.count('peer_gone_disconnected_frames')).toBe(0);
  });

  it('a key on two relays is reached through one, and through the other when that one loses it', async () => {
    const [a, b, c] = (await startMesh(lane, 3)) as [TestRelay, TestRelay, TestRelay];
    const alice = await join(a, [b, c]);
    const onB = await join(b, [a, c]);
    // Of the relays' own keys each is at both of the others.
    const { multiCreated, multiDeleted } = a.relay.figures();
    const onC = await join(c, [a, b], onB.keys);
    expect(a.relay.figures()).toMatchObject({ multiCreated: multiCreated + 1, multiDeleted });
    for (let number = 0; number < 10; number++) await passes(alice, onB, `stable ${number}`);
    expect(await onC.fence()).toEqual([]);
    const before = announcements(a);
    await onB.close();
    await eventually(() => announcements(a) === before - 1, 'the first to be gone');
    await a.commandsDone();
    await passes(alice, onC, 'the other way');
    expect(a.relay.figures()).toMatchObject({ multiDeleted: multiDeleted + 1 });
    expect(await alice.fence()).toEqual([]);
    await onC.close();
    // The client has left the region without sending anything, so that no peer is told.
    await eventually(() => announcements(a) === before - 2, 'the second to be gone');
    await a.commandsDone();
    alice.sendPacket(onC.key, discoPacket());
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: onC.key, reason: PeerGoneReason.NotHere });
  });

  it('a packet takes one hop, and no further', async () => {
    const ports = (await freePorts(3)) as [number, number, number];
    trustOwnCertificate();
    const [portA, portB, portC] = ports;
    // A and C know B alone.
    const wanted = [[named(portB)], [named(portA), named(portC)], [named(portB)]];
    const nodes = ports.map((port, index) => meshNode(lane, { port, meshWith: wanted[index] as string[] }));
    await Promise.all(nodes.map((node) => node.relay.start()));
    await Promise.all(nodes.map((node) => meshed(node)));
    const [a, b, c] = nodes as [TestRelay, TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const carol = await join(c, [b]);
    alice.sendPacket(carol.key, discoPacket());
    expect(await alice.expect('PeerGone')).toMatchObject({ key: carol.key, reason: PeerGoneReason.NotHere });
    expect(b.count('packets_forwarded_in')).toBe(0);
  });

  it('a relay drops packets for an ended link, reports peers as gone, and connects again', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const [alice, bob] = [await join(a, [b]), await join(b, [a])];
    await passes(bob, alice, 'hello');
    const [link] = (await a.dataPlane.snapshot(0, 0)).links;
    a.dataPlane.hangUp(link as number);
    // Bob is there, and cannot be reached.
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: bob.key, reason: 0 });
    expect(a.relay.mesh()).toEqual([
      {
        relay: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
        state: expect.stringMatching(/^(?:waiting|connecting|connected)$/),
        peers: expect.any(Number),
        passedOver: 0,
        from: 'meshWith',
        since: expect.any(Number),
        failures: 0,
        publicKey: expect.stringMatching(/^nodekey:[0-9a-f]{64}$/),
        trouble: 'we hung up',
      },
    ]);
    // Its own link is another one.
    bob.sendPacket(alice.key, 'the other way is open');
    await alice.expectPacket('the other way is open');
    await meshed(a);
    await eventually(() => announcements(a) === 2, 'bob to be announced again');
    await a.commandsDone();
    await passes(alice, bob, 'as before');
  });

  it('relays with different mesh keys do not mesh', async () => {
    trustOwnCertificate();
    const [portA, portB] = (await freePorts(2)) as [number, number];
    const a = meshNode(lane, { port: portA, meshWith: [named(portB)] });
    const b = meshNode(lane, { port: portB, meshWith: [], config: { meshKey: 'ab'.repeat(32) } });
    await Promise.all([a.relay.start(), b.relay.start()]);
    const bob = await DerpClient.connect(b);
    await eventually(
      () => /have this relay's mesh key/.test(a.relay.mesh()[0]?.trouble ?? ''),
      'the link to be refused',
    );
    // It was a client like any other, until it wanted to watch.
    await b.endOf(a.keys.publicKey).then((reason) => expect(reason).toBe('protocol_error'));
    expect(b.connected.some(({ mesh }) => mesh)).toBe(false);
    expect(a.relay.mesh()).toMatchObject([{ peers: 0 }]);
    const alice = await DerpClient.connect(a);
    alice.sendPacket(bob.key, discoPacket());
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: bob.key, reason: 1 });
    await bob.fence();
  });

  it('relays mesh again after a restart', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const { port } = b.target();
    await b.close();
    await eventually(() => a.relay.figures().totalKeys === a.relay.figures().localKeys, 'the others to be forgotten');
    const again = meshNode(lane, { port, meshWith: [named(a.target().port)], keys: b.keys });
    await again.relay.start();
    await Promise.all([meshed(a), meshed(again)]);
    await again.commandsDone();
    const bob = await join(again, [a]);
    await passes(alice, bob, 'there');
    await passes(bob, alice, 'and back');
  });

  it('metrics and pages show the relays of the mesh', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const bob = await join(b, [a]);
    await passes(alice, bob, 'hello');
    await passes(bob, alice, 'hello yourself');
    const name = `{relay="${named(b.target().port)}"}`;
    expect(Object.fromEntries(await metricsOf(a))).toMatchObject({
      // Alice, and the other relay; at the other one bob, and this relay.
      derp_clients_local: 2,
      derp_clients_remote: 2,
      derp_clients_total: 4,
      derp_watchers: 1,
      derp_packets_forwarded_out: 1,
      derp_packets_forwarded_in: 1,
      derp_multiforwarder_created: 0,
      derp_multiforwarder_deleted: 0,
      derp_packet_forwarder_delete_other_value: 0,
      [`derpkit_mesh_link_up${name}`]: 1,
      [`derpkit_mesh_link_peers${name}`]: 2,
      'derp_packets_dropped{reason="mesh_queue",kind="other"}': 0,
      'derp_packets_dropped{reason="mesh_down",kind="disco"}': 0,
    });
    const { body } = await ask(a.target({}), '/debug/');
    expect(body).toContain(`<b>Mesh with ${named(b.target().port)}:</b> connected, 2 peers`);
    const [link] = (await a.dataPlane.snapshot(0, 0)).links;
    a.dataPlane.hangUp(link as number);
    await eventually(async () => {
      const metrics = await metricsOf(a);
      return metrics.get(`derpkit_mesh_link_up${name}`) === 0 && metrics.get('derp_clients_remote') === 0;
    }, 'the link to be down');
  });

  it('a mesh peer can close a client of the other relay', async () => {
    const [a, b] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const alice = await join(a, [b]);
    const bob = await join(b, [a]);
    await passes(bob, alice, 'hello');
    const peer = await DerpClient.connect(b, { meshKey: MESH_KEY });
    peer.closePeer(bob.key);
    expect(await b.endOf(bob.key)).toBe('closed_by_peer');
    expect(await alice.expect('PeerGone')).toEqual({ type: 'PeerGone', key: bob.key, reason: 0 });
  });
});

function presenceOf(key: NodeKey) {
  return { key, address: '192.0.2.1', port: 1, flags: 1, appName: '' };
}
