import { describe, expect, it } from 'vitest';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { leave, MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';

nothingIsLeft();

/** Lets `from` send a packet that `to` gets. */
async function talk(from: DerpClient, to: DerpClient): Promise<void> {
  from.sendPacket(to.key, 'hello');
  expect(await to.expectPacket('hello')).toBe(from.key);
}

/**
 * Expects that the client hears of no departure: a later peer leaves, of which the client must hear, and nothing comes before
 * that.
 */
async function expectNothingSaid(relay: TestRelay, client: DerpClient): Promise<void> {
  const late = await DerpClient.connect(relay);
  await talk(late, client);
  await leave(relay, late);
  expect(await client.expect('PeerGone')).toEqual({ type: 'PeerGone', key: late.key, reason: 0 });
  expect(await client.fence()).toEqual([]);
}

describe.each(LANES_AND_TLS)('PeerGone, $name', (lane) => {
  it('a client is told once that a peer has left that sent it packets', async () => {
    const relay = await startRelay(lane);
    const [leaving, told] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    for (let count = 0; count < 3; count++) await talk(leaving, told);
    await leave(relay, leaving);
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: leaving.key, reason: 0 });
    await expectNothingSaid(relay, told);
    expect(relay.count('peer_gone_disconnected_frames')).toBe(2);
    expect(relay.count('peer_gone_not_here_frames')).toBe(0);
  });

  it('every client that got packets is told, whatever the reason for leaving', async () => {
    const relay = await startRelay(lane);
    const clients = await Promise.all([...Array(6)].map(() => DerpClient.connect(relay)));
    const leaving = await DerpClient.connect(relay);
    for (const client of clients) await talk(leaving, client);
    // A frame that breaks the protocol: the relay ends it.
    leaving.send(Buffer.of(4, 0, 0, 0, 1));
    for (const client of clients) {
      expect(await client.expect('PeerGone')).toEqual({ type: 'PeerGone', key: leaving.key, reason: 0 });
    }
    await relay.untilCount('peer_gone_disconnected_frames', clients.length);
  });

  it('a client that only sent to a peer, or whose packets the peer got, is not told', async () => {
    const relay = await startRelay(lane);
    const [leaving, sender, stranger] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    await talk(sender, leaving);
    await leave(relay, leaving);
    await expectNothingSaid(relay, sender);
    await expectNothingSaid(relay, stranger);
  });

  it('a client is not told about itself', async () => {
    const relay = await startRelay(lane);
    const client = await DerpClient.connect(relay);
    await talk(client, client);
    await leave(relay, client);
    const again = await DerpClient.connect(relay, { keys: client.keys });
    expect(await again.fence()).toEqual([]);
    expect(relay.count('peer_gone_disconnected_frames')).toBe(0);
  });

  it('a client is told again only after another packet', async () => {
    const relay = await startRelay(lane);
    const [leaving, told] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const { keys } = leaving;
    await talk(leaving, told);
    await leave(relay, leaving);
    await told.expect('PeerGone');
    // Back, silent, and gone again.
    await leave(relay, await DerpClient.connect(relay, { keys }));
    await expectNothingSaid(relay, told);
    // Back once more, with something to say.
    const back = await DerpClient.connect(relay, { keys });
    await talk(back, told);
    await leave(relay, back);
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: keys.publicKey, reason: 0 });
  });

  it('clients are told when the last connection of a key has left, and not before', async () => {
    const relay = await startRelay(lane);
    const told = await DerpClient.connect(relay);
    const first = await DerpClient.connect(relay);
    const second = await DerpClient.connect(relay, { keys: first.keys });
    const third = await DerpClient.connect(relay, { keys: first.keys });
    for (const client of [first, second, third]) await talk(client, told);
    await leave(relay, third);
    await leave(relay, first);
    await expectNothingSaid(relay, told);
    await leave(relay, second);
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: first.key, reason: 0 });
    await expectNothingSaid(relay, told);
  });

  it('the connection is told and not the key, so the next connection starts anew', async () => {
    const relay = await startRelay(lane);
    const [leaving, first] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    await talk(leaving, first);
    await leave(relay, first);
    const second = await DerpClient.connect(relay, { keys: first.keys });
    await leave(relay, leaving);
    await expectNothingSaid(relay, second);
  });

  it('of several connections of a key, only the one that got the packet is told', async () => {
    const relay = await startRelay(lane);
    const leaving = await DerpClient.connect(relay);
    const first = await DerpClient.connect(relay);
    const second = await DerpClient.connect(relay, { keys: first.keys });
    await talk(leaving, second);
    await leave(relay, leaving);
    await second.expect('PeerGone');
    // The fence makes it the active one, which gets the packets.
    expect(await first.fence()).toEqual([]);
    await expectNothingSaid(relay, first);
  });

  it('a client that got packets through a mesh peer is told, too', async () => {
    const relay = await startRelay(lane);
    const [source, told] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    peer.forwardPacket(source.key, told.key, 'around');
    expect(await told.expectPacket('around')).toBe(source.key);
    await leave(relay, source);
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: source.key, reason: 0 });
  });

  it('a client whose packets were all dropped is not told', async () => {
    const relay = await startRelay(lane);
    const [leaving, gone] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const { keys } = gone;
    await leave(relay, gone);
    leaving.sendPacket(keys.publicKey, 'to nobody');
    await leaving.fence();
    const back = await DerpClient.connect(relay, { keys });
    await leave(relay, leaving);
    await expectNothingSaid(relay, back);
  });

  it('a connection is told about a bounded number of peers, the latest', async () => {
    const relay = await startRelay(lane, { policy: { limits: { peerGoneSubscriptions: 2 } } });
    const told = await DerpClient.connect(relay);
    const clients = [await DerpClient.connect(relay), await DerpClient.connect(relay), await DerpClient.connect(relay)];
    for (const client of clients) await talk(client, told);
    for (const client of clients) await leave(relay, client);
    const [, second, third] = clients as [DerpClient, DerpClient, DerpClient];
    expect(await told.expect('PeerGone')).toMatchObject({ key: second.key });
    expect(await told.expect('PeerGone')).toMatchObject({ key: third.key });
    await expectNothingSaid(relay, told);
  });

  it('the reasons "disconnected" and "not here" differ, and both are counted', async () => {
    const relay = await startRelay(lane);
    const [leaving, told] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    await talk(leaving, told);
    await leave(relay, leaving);
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: leaving.key, reason: 0 });
    told.sendPacket(leaving.key, discoPacket());
    expect(await told.expect('PeerGone')).toEqual({ type: 'PeerGone', key: leaving.key, reason: 1 });
    await relay.untilCount('peer_gone_disconnected_frames', 1);
    await relay.untilCount('peer_gone_not_here_frames', 1);
  });
});
