/** Bounds over all connections: beyond a budget the largest holder pays, and no other client notices. */
import { describe, expect, it } from 'vitest';
import { SNAPSHOT_COLUMNS } from '../../src/plane/plane.js';
import { encodeFrame } from '../../src/protocol/frame.js';
import { nodeKeyBytes, readNodeKey } from '../../src/protocol/key.js';
import { FrameType, HEADER_LENGTH, PeerGoneReason } from '../../src/protocol/wire.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES, LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** No write deadline, and no limit of the same kind below it. */
const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

/** A SendPacket frame with so many bytes of a packet, and so many of them that have come. */
function begun(destination: DerpClient, packet: number, come: number): Buffer {
  const frame = Buffer.alloc(HEADER_LENGTH + 32 + packet, 7);
  frame[0] = FrameType.SendPacket;
  frame.writeUInt32BE(32 + packet, 1);
  nodeKeyBytes(destination.key).copy(frame, HEADER_LENGTH);
  return frame.subarray(0, come);
}

/** Packets that wait for a client, as the plane counts them. */
async function queuedFor(relay: TestRelay, client: DerpClient): Promise<number> {
  const index = relay.connected.findIndex(({ key }) => key.endsWith(nodeKeyBytes(client.key).toString('hex')));
  const { id } = relay.connected[index] as TestRelay['connected'][0];
  const { rows } = await relay.dataPlane.snapshot(0, 100);
  const [width, queued] = [SNAPSHOT_COLUMNS.length, SNAPSHOT_COLUMNS.indexOf('queuedPackets')];
  for (let at = 0; at < rows.length; at += width) if (rows[at] === id) return rows[at + queued] as number;
  throw new Error('the client is not connected');
}

async function metrics(relay: TestRelay): Promise<Map<string, number>> {
  const { body } = await ask(relay.target(), '/debug/varz');
  return new Map(
    [...body.matchAll(/^(derpkit_[^ ]*) (\S+)$/gm)].map(([, name, value]) => [name as string, Number(value)]),
  );
}

describe.each(LANES_AND_TLS)('partial frames, $name', (lane) => {
  it('the relay bounds partial frames over all clients, and closes those that have been large for longest', async () => {
    const limit = 300_000;
    const relay = await startRelay(lane, { config: { limits: { partialBytes: limit } } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const reader = await DerpClient.connect(relay);
      const slow = await DerpClient.connect(relay);
      slow.send(begun(reader, 30_000, 20_000));
      await eventually(() => relay.count('held:partial_bytes') >= 20_000, 'the first part to have come');
      const attackers: DerpClient[] = [];
      for (let number = 0; number < 12; number++) {
        const attacker = await DerpClient.connect(relay);
        attackers.push(attacker);
        attacker.send(begun(reader, 65_000, 60_000));
        // Four fit in beside the other one.
        const over = Math.max(0, number - 3);
        await relay.untilCount('over_budget:partial_bytes', over);
        await eventually(
          () => relay.count('held:partial_bytes') >= 20_000 + 60_000 * Math.min(4, number + 1),
          'its part',
        );
        expect(relay.count('held:partial_bytes')).toBeLessThanOrEqual(limit);
      }
      // The oldest of them.
      for (const attacker of attackers.slice(0, 8)) expect(await relay.endOf(attacker.key)).toBe('over_budget');
      expect(relay.disconnected).toHaveLength(8);
      const shown = await metrics(relay);
      expect(shown.get('derpkit_over_budget_total{what="partial_bytes"}')).toBe(8);
      expect(shown.get('derpkit_held_bytes{what="partial"}')).toBe(relay.count('held:partial_bytes'));
      // The remaining clients are as well as before.
      slow.send(begun(reader, 30_000, 30_037).subarray(20_000));
      expect((await reader.expect('RecvPacket')).source).toBe(slow.key);
      const last = attackers.at(-1) as DerpClient;
      last.send(begun(reader, 65_000, 65_037).subarray(60_000));
      expect((await reader.expect('RecvPacket')).source).toBe(last.key);
      for (const client of [...attackers, slow, reader]) await client.close();
      await eventually(() => relay.count('held:partial_bytes') === 0, 'nothing to be held any more');
    });
    expect(relay.drops()).toEqual({});
  });

  it('partial frames of ordinary packets count against no limit', async () => {
    const relay = await startRelay(lane, { config: { limits: { partialBytes: 1 } } });
    const reader = await DerpClient.connect(relay);
    const senders = await Promise.all([...Array(5)].map(() => DerpClient.connect(relay)));
    for (const sender of senders) sender.send(begun(reader, 1400, 1000));
    for (const sender of senders) sender.send(begun(reader, 1400, 1437).subarray(1000));
    for (const _ of senders) await reader.expect('RecvPacket');
    expect(relay.count('over_budget:partial_bytes')).toBe(0);
    expect(relay.disconnected).toEqual([]);
  });
});

describe.each(LANES)('data that waits to be processed, $name', (lane) => {
  /** Frames without an answer. */
  const ahead = Buffer.concat(Array(13).fill(encodeFrame(0x71 as FrameType, Buffer.alloc(5000, 1))));

  it('data sent before an admission counts against the limit of partial bytes', async () => {
    const harness = await PlaneHarness.open(lane, { limits: { partialBytes: 170_000 } });
    const held = () => harness.plane.counters.read('held:partial_bytes');
    const first = await harness.loggingIn();
    first.client.send(ahead);
    await eventually(() => held() >= ahead.length, 'what the first has sent ahead');
    const second = await harness.loggingIn();
    second.client.send(ahead);
    await eventually(() => held() >= 2 * ahead.length, 'what the second has sent ahead');
    expect(harness.ends.size).toBe(0);
    const third = await harness.loggingIn();
    third.client.send(ahead);
    expect(await harness.endOf(first.login.id)).toBe('over_budget');
    for (const { client, login } of [second, third]) {
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await client.expect('ServerInfo');
      expect(await client.fence()).toEqual([]);
    }
    await eventually(() => held() === 0, 'nothing to be held any more');
  });

  it('data behind a receive limit counts too, also after the limit was lowered', async () => {
    const harness = await PlaneHarness.open(lane, { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } });
    const held = () => harness.plane.counters.read('held:partial_bytes');
    const clients = [await harness.admitted(), await harness.admitted()];
    for (const { client } of clients) client.send(begun(client, 60_000, 60_037), ahead);
    await eventually(() => harness.plane.counters.read('rate_limit_waits') === 2, 'both to be held back');
    const { client: late, id } = await harness.admitted();
    late.send(begun(late, 60_000, 40_000));
    await eventually(() => held() >= 40_000, 'another one’s part of a frame');
    harness.plane.policy(harness.policy({ limits: { partialBytes: 1 } }));
    expect(await harness.endOf(id)).toBe('over_budget');
    await eventually(() => held() === 0, 'nothing to be held any more');
  });
});

describe.each(LANES_AND_TLS)('data that waits to be sent, $name', (lane) => {
  it('the relay bounds queued bytes over all clients, and drops the oldest packets of the largest', async () => {
    const limit = 1 << 20;
    const relay = await startRelay(lane, { config: { ...FOR_EVER, limits: { queuedBytes: limit } } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const sender = await DerpClient.connect(relay);
      const [slow, frozen] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const got = new Map([slow, frozen].map(({ key }) => [key, [] as number[]]));
      for (const client of [slow, frozen]) {
        client.wire.stopReading();
        client.onPacket = (_source, packet) => got.get(client.key)?.push(packet.readUInt32BE());
      }
      let toSlow = 0;
      while ((await queuedFor(relay, slow)) < 2) {
        sender.sendPacket(slow.key, numbered(toSlow++));
        await sender.fence();
      }
      let toFrozen = 0;
      while ((relay.drops().over_budget ?? 0) < 40) {
        sender.sendPacket(frozen.key, numbered(toFrozen++));
        await sender.fence();
        // One more packet may wait for a lock.
        expect(relay.count('held:queued_bytes')).toBeLessThanOrEqual(limit + 66_000);
        expect(toFrozen).toBeLessThan(2000);
      }
      expect(await queuedFor(relay, frozen)).toBeLessThan(32);
      for (const client of [slow, frozen]) client.wire.goOnReading();
      await eventually(() => got.get(slow.key)?.length === toSlow, 'all that was sent to the slow one');
      const arrived = got.get(frozen.key) as number[];
      await eventually(() => arrived.at(-1) === toFrozen - 1, 'the last that was sent to the one that did not read');
      expect(arrived).toEqual(arrived.toSorted((a, b) => a - b));
      const dropped = relay.drops().over_budget as number;
      expect(arrived).toHaveLength(toFrozen - dropped);
      expect(relay.drops()).toEqual({ over_budget: dropped });
      expect(relay.count('over_budget:queued_bytes')).toBeGreaterThanOrEqual(40);
      expect((await metrics(relay)).get('derpkit_over_budget_total{what="queued_bytes"}')).toBe(
        relay.count('over_budget:queued_bytes'),
      );
      await eventually(() => relay.count('held:queued_bytes') === 0, 'nothing to wait any more');
      expect(relay.disconnected).toEqual([]);
      for (const client of [sender, slow, frozen]) await client.close();
    });
  });

  it('the relay closes the client with the most queued bytes if it has no packet to drop', async () => {
    const harness = await PlaneHarness.open(
      lane,
      { limits: { queuedBytes: 400_000 }, deadlines: { write: 0 } },
      lane.tls ? 'tls' : 'tcp',
    );
    const { client, id } = await harness.admitted();
    const { client: other, id: otherId } = await harness.admitted();
    client.wire.stopReading();
    const control = encodeFrame(FrameType.Health, Buffer.alloc(60_000));
    // The system takes the first of them.
    await eventually(() => {
      if (!harness.ends.has(id)) harness.plane.send([id], control);
      harness.plane.send([otherId], encodeFrame(FrameType.Health, Buffer.alloc(10)));
      return harness.ends.has(id);
    }, 'it to be closed');
    expect(harness.ends.get(id)).toBe('over_budget');
    expect(harness.plane.counters.read('over_budget:queued_bytes')).toBe(1);
    for (const { type } of await other.fence()) expect(type).toBe('Odd');
    expect(harness.ends.size).toBe(1);
    await eventually(() => harness.plane.counters.read('held:queued_bytes') === 0, 'nothing to wait any more');
  });
});

describe.each(LANES)('pairs of a client and its sources, $name', (lane) => {
  /** Keys that no client here has. */
  const source = (number: number) => readNodeKey(Buffer.alloc(32, number));

  it('the relay bounds pairs over all clients, and the client with the most forgets its oldest source', async () => {
    const harness = await PlaneHarness.open(lane, { limits: { peerGonePairs: 40 } });
    const { client: peer, login } = await harness.loggingIn();
    harness.plane.admit(login.id, { mesh: true, receiveLimit: null });
    await peer.expect('ServerInfo');
    const [few, some, most] = [await harness.admitted(), await harness.admitted(), await harness.admitted()];
    for (const [{ client }, sources] of [
      [few, 8],
      [some, 15],
      [most, 30],
    ] as const) {
      for (let number = 1; number <= sources; number++) {
        peer.forwardPacket(source(number), client.key, 'hello');
        expect(await client.expectPacket('hello')).toBe(source(number));
      }
    }
    // Eight are free; of the others there are forty-five.
    expect(harness.plane.counters.read('held:peer_gone_pairs')).toBe(40);
    expect(harness.plane.counters.read('over_budget:peer_gone_pairs')).toBe(5);
    for (let number = 1; number <= 30; number++) harness.plane.gone(source(number), PeerGoneReason.Disconnected);
    await harness.plane.snapshot(0, 0);
    const told = async ({ client }: { client: DerpClient }) =>
      (await client.fence()).map((frame) => (frame.type === 'PeerGone' ? frame.key : frame));
    const keys = (from: number, to: number) =>
      Array.from({ length: to - from + 1 }, (_, index) => source(from + index));
    expect(await told(few)).toEqual(keys(1, 8));
    expect(await told(some)).toEqual(keys(1, 15));
    expect(await told(most)).toEqual(keys(6, 30));
    expect(harness.plane.counters.read('held:peer_gone_pairs')).toBe(0);
  });

  it('a client that has left counts for no pair', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client: peer, login } = await harness.loggingIn();
    harness.plane.admit(login.id, { mesh: true, receiveLimit: null });
    await peer.expect('ServerInfo');
    const { client, id } = await harness.admitted();
    for (let number = 1; number <= 20; number++) peer.forwardPacket(source(number), client.key, 'hello');
    for (let number = 1; number <= 20; number++) await client.expectPacket('hello');
    expect(harness.plane.counters.read('held:peer_gone_pairs')).toBe(20);
    await client.close();
    await harness.endOf(id);
    expect(harness.plane.counters.read('held:peer_gone_pairs')).toBe(0);
  });
});
