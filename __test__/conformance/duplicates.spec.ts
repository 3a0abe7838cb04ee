import { describe, expect, it } from 'vitest';
import { encodeFrame, notePreferredFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { FrameType } from '../../src/protocol/wire.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { leave, startRelay, type TestRelay } from '../helpers/relay.js';
import { turn } from '../helpers/wait.js';

nothingIsLeft();

/** So many connections of one key, in the order of their arrival, and a sender for them. */
async function clones(relay: TestRelay, count: number): Promise<{ sender: DerpClient; all: DerpClient[] }> {
  const sender = await DerpClient.connect(relay);
  const first = await DerpClient.connect(relay);
  const all = [first];
  while (all.length < count) all.push(await DerpClient.connect(relay, { keys: first.keys }));
  return { sender, all };
}

let texts = 0;

/** That of all connections of a key this one gets its packets. Nothing is sent by any of them. */
async function expectActive(sender: DerpClient, active: DerpClient): Promise<void> {
  texts += 1;
  sender.sendPacket(active.key, `packet ${texts}`);
  expect(await active.expectPacket(`packet ${texts}`)).toBe(sender.key);
}

describe.each(LANES_AND_TLS)('connections of one key, $name', (lane) => {
  it('the newest connection of a key gets its packets', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 1);
    const [first] = all as [DerpClient];
    await expectActive(sender, first);
    const second = await DerpClient.connect(relay, { keys: first.keys });
    await expectActive(sender, second);
    const third = await DerpClient.connect(relay, { keys: first.keys });
    await expectActive(sender, third);
    await relay.untilFigures({ connections: 4, localKeys: 2 });
    // The others are still connected, and have not been sent a thing.
    expect(await first.fence()).toEqual([]);
    expect(await second.fence()).toEqual([]);
  });

  it.each([
    ['a pong', encodeFrame(FrameType.Pong, Buffer.alloc(8))],
    ['a NotePreferred', notePreferredFrame(true)],
    ['an unknown frame', encodeFrame(0x42 as FrameType, Buffer.alloc(3))],
    ['an unknown frame without a body', encodeFrame(0x42 as FrameType, Buffer.alloc(0))],
    ['a KeepAlive', encodeFrame(FrameType.KeepAlive, Buffer.alloc(0))],
    ['a packet', sendPacketFrame('\x01'.repeat(32) as Parameters<typeof sendPacketFrame>[0], Buffer.alloc(4))],
  ])('the connection that last sent a frame, such as %s, gets the packets of its key', async (_name, frame) => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 2);
    const [first, second] = all as [DerpClient, DerpClient];
    await expectActive(sender, second);
    first.send(frame);
    await expectActiveSoon(sender, first, second);
    await expectActive(sender, first);
  });

  it('connections that fight over a key stay open', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 2);
    const [first, second] = all as [DerpClient, DerpClient];
    for (let round = 0; round < 30; round++) {
      for (const client of [first, second]) {
        await client.fence();
        await expectActive(sender, client);
      }
    }
    await relay.untilFigures({ connections: 3, dupKeys: 1, dupConnections: 2 });
    expect(relay.drops()).toEqual({});
  });

  it('the plane does not report every change between connections that fight over a key', async () => {
    const relay = await startRelay(lane);
    const { all } = await clones(relay, 2);
    const [first, second] = all as [DerpClient, DerpClient];
    const before = relay.activeEvents;
    const frames = 400;
    const start = performance.now();
    for (let frame = 0; frame < frames; frame++) {
      (frame % 2 === 0 ? first : second).send(encodeFrame(0x42 as FrameType, Buffer.alloc(0)));
      await turn();
    }
    await first.fence();
    await second.fence();
    // Of a quick row the last is enough; a slow one, on a busy machine, may be told as it is.
    expect(relay.activeEvents - before).toBeLessThan(Math.max(frames / 4, (performance.now() - start) / 5));
  });

  it('each connection of a key may send under the key', async () => {
    const relay = await startRelay(lane);
    const { sender: receiver, all } = await clones(relay, 3);
    for (const client of all) {
      client.sendPacket(receiver.key, 'one of us');
      expect(await receiver.expectPacket('one of us')).toBe(all[0]?.key);
    }
  });

  it('each connection of a key gets pongs to its own pings', async () => {
    const relay = await startRelay(lane);
    const { all } = await clones(relay, 3);
    for (const client of all) expect(await client.fence()).toEqual([]);
  });

  it('the oldest connection takes over when the silent newest one leaves', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 3);
    const [first, second, third] = all as [DerpClient, DerpClient, DerpClient];
    await expectActive(sender, third);
    await leave(relay, third);
    await expectActive(sender, first);
    expect(await second.fence()).toEqual([]);
  });

  it('the connection before takes over when the last writer leaves', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 4);
    const [first, second, third, fourth] = all as [DerpClient, DerpClient, DerpClient, DerpClient];
    for (const client of [third, first, fourth, second]) await client.fence();
    await expectActive(sender, second);
    await leave(relay, second);
    await expectActive(sender, fourth);
    await leave(relay, fourth);
    await expectActive(sender, first);
    await leave(relay, first);
    await expectActive(sender, third);
    await leave(relay, third);
    sender.sendPacket(third.key, 'to nobody');
    await sender.fence();
    expect(relay.drops()).toEqual({ unknown_dest: 1 });
  });

  it('the active connection stays active when another one leaves', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 4);
    const [first, second, third, fourth] = all as [DerpClient, DerpClient, DerpClient, DerpClient];
    await second.fence();
    for (const leaving of [first, fourth, third]) {
      await leave(relay, leaving);
      await expectActive(sender, second);
    }
  });

  it('the metrics count keys with several connections, their connections, and all there ever were', async () => {
    const relay = await startRelay(lane);
    const { all } = await clones(relay, 2);
    await relay.untilFigures({ connections: 3, localKeys: 2, dupKeys: 1, dupConnections: 2, dupConnectionsEver: 1 });
    const { all: others } = await clones(relay, 3);
    await relay.untilFigures({ connections: 7, localKeys: 4, dupKeys: 2, dupConnections: 5, dupConnectionsEver: 3 });
    await leave(relay, others[0] as DerpClient);
    await relay.untilFigures({ dupKeys: 2, dupConnections: 4 });
    await leave(relay, all[1] as DerpClient);
    await relay.untilFigures({ dupKeys: 1, dupConnections: 2 });
    for (const client of others.slice(1)) await leave(relay, client);
    await relay.untilFigures({ connections: 3, localKeys: 3, dupKeys: 0, dupConnections: 0, dupConnectionsEver: 3 });
  });

  it('connections of a key that connect and leave together leave no trace', async () => {
    const relay = await startRelay(lane);
    const { sender, all } = await clones(relay, 1);
    const { keys } = all[0] as DerpClient;
    for (let round = 0; round < 4; round++) {
      const crowd = await Promise.all([...Array(5)].map(() => DerpClient.connect(relay, { keys })));
      for (const client of crowd) client.ping(Buffer.alloc(8));
      await Promise.all(crowd.map((client) => client.close()));
      await relay.untilFigures({ connections: 2, dupKeys: 0, dupConnections: 0 });
      await expectActive(sender, all[0] as DerpClient);
    }
  });
});

/** Sends packets until the one that has just sent something gets them. (A ping would show that it was read, and be it.) */
async function expectActiveSoon(sender: DerpClient, active: DerpClient, before: DerpClient): Promise<void> {
  let count = 0;
  const got: string[] = [];
  for (const [name, client] of [
    ['active', active],
    ['before', before],
  ] as const) {
    client.onPacket = () => got.push(name);
  }
  while (got.at(-1) !== 'active') {
    sender.sendPacket(active.key, 'which of you?');
    count += 1;
    await sender.fence();
    while (got.length < count) await turn();
    expect(count, 'packets until the switch').toBeLessThan(1000);
  }
  active.onPacket = undefined;
  before.onPacket = undefined;
}
