import { describe, expect, it } from 'vitest';
import { pingFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { bytesHeld } from '../helpers/memory.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { fill, numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const MIB = 1 << 20;
/** What two readings of the same state may differ by. What attacks hold is said with each. */
const MOST = 6 * MIB;
/** No write deadline, and no limit of the same kind below it. */
const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

/**
 * What `attack` leaves behind, once everything that is allocated once and kept has been. What it leaves, it leaves each time;
 * what else the process does meanwhile, it does not.
 */
async function growth(plane: Parameters<typeof bytesHeld>[0], attack: () => Promise<unknown>): Promise<number> {
  await attack();
  let least = Number.POSITIVE_INFINITY;
  for (let time = 0; time < 3 && least >= MOST; time++) {
    const before = await bytesHeld(plane);
    await attack();
    least = Math.min(least, (await bytesHeld(plane)) - before);
  }
  return least;
}

// The plane behind delays is the same one, and holds the same.
describe.each(LANES_AND_TLS.filter(({ name }) => name !== 'js-async'))('memory, $name', (lane) => {
  it('memory for clients that never read is bounded, and freed when they leave', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const bystanders = await Bystanders.join(relay);
    const attack = async () => {
      const sender = await DerpClient.connect(relay);
      const frozen = await Promise.all([0, 1, 2, 3].map(() => DerpClient.connect(relay)));
      for (const client of frozen) client.wire.stopReading();
      for (const client of frozen) await fill(relay, sender, client);
      // Each now has as much as it may have. Twice that for each pushes out what is there, and takes no room.
      const full = await bytesHeld(lane.planeKind);
      for (let number = 0; number < 64; number++) {
        for (const client of frozen) sender.sendPacket(client.key, numbered(number));
        await sender.fence();
      }
      expect((await bytesHeld(lane.planeKind)) - full).toBeLessThan(MOST);
      for (const client of frozen) client.wire.reset();
      await sender.close();
      await relay.untilFigures({ connections: 2 });
    };
    // Four queues that are kept would be 8 MiB.
    await bystanders.during(async () => expect(await growth(lane.planeKind, attack)).toBeLessThan(MOST));
  });

  it('memory for incomplete logins is bounded, and freed when they leave', async () => {
    const relay = await startRelay(lane, { policy: { limits: { loginBytes: 8 * MIB } } });
    const bystanders = await Bystanders.join(relay);
    const [each, count] = [200_000, 100];
    const attack = async () => {
      const [accepts, failed] = [relay.count('accepts'), relay.count('logins_failed')];
      const clients = await Promise.all([...Array(count)].map(() => partialLogin(relay, each)));
      await relay.untilCount('accepts', accepts + count);
      // The clients beyond the limit are turned away.
      const beyond = count - Math.floor((8 * MIB) / each);
      await eventually(() => clients.filter(({ wire }) => wire.isOver).length >= beyond, `${beyond} to be turned away`);
      for (const client of clients) await client.close();
      await relay.untilCount('logins_failed', failed + count);
    };
    // Those that fit in have 8 MiB.
    await bystanders.during(async () => expect(await growth(lane.planeKind, attack)).toBeLessThan(MOST));
    const late = await DerpClient.connect(relay, { info: `{"version":2,"pad":"${'x'.repeat(200_000)}"}` });
    expect(await late.fence()).toEqual([]);
  });

  it('memory for incomplete frames is bounded, however many clients have begun one', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    const [count, each] = [2000, 65_536];
    const budget = 64 * MIB;
    await bystanders.during(async () => {
      const attackers: DerpClient[] = [];
      for (let number = 0; number < count; number += 100) {
        attackers.push(...(await Promise.all([...Array(100)].map(() => DerpClient.connect(relay)))));
      }
      const before = await bytesHeld(lane.planeKind);
      const frame = sendPacketFrame(bystanders.key, Buffer.alloc(each, 7)).subarray(0, each);
      for (let number = 0; number < count; number += 100) {
        const some = attackers.slice(number, number + 100);
        for (const attacker of some) attacker.send(frame);
        await Promise.all(some.map(({ wire }) => wire.flushed()));
      }
      const most = Math.floor(budget / each);
      await eventually(
        () => relay.disconnected.length >= count - most,
        () => `all but ${most} to be closed, not ${relay.disconnected.length}`,
      );
      expect(new Set(relay.disconnected.map(({ reason }) => reason))).toEqual(new Set(['over_budget']));
      expect(relay.count('held:partial_bytes')).toBeLessThanOrEqual(budget);
      // Of all of them it would be twice that. What OpenSSL keeps for the clients over TLS is in this process, too.
      const grown = (await bytesHeld(lane.planeKind)) - before;
      if (!lane.tls) expect(grown).toBeLessThan(budget + 4 * MOST);
      for (const { wire } of attackers) await wire.destroy();
      await relay.untilFigures({ connections: 2 });
    });
    expect(relay.count('held:partial_bytes')).toBe(0);
  }, 180_000);

  it('memory for answers that clients never read is bounded', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const bystanders = await Bystanders.join(relay);
    const pings = Buffer.concat([...Array(5000)].map(() => pingFrame(Buffer.alloc(8))));
    const attack = async () => {
      const clients = await Promise.all([...Array(10)].map(() => DerpClient.connect(relay)));
      for (const client of clients) {
        client.wire.stopReading();
        // Pings, which would be answered.
        for (let time = 0; time < 10; time++) client.send(pings);
      }
      await Promise.all(clients.map(({ wire }) => wire.flushed()));
      for (const client of clients) client.wire.reset();
      await relay.untilFigures({ connections: 2 });
    };
    await bystanders.during(async () => expect(await growth(lane.planeKind, attack)).toBeLessThan(MOST));
  });

  it('the relay reserves no memory for a frame before it arrives', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    const attack = async () => {
      // Together they announce 26 MB.
      const liars = await Promise.all([...Array(400)].map(() => DerpClient.connect(relay)));
      const before = await bytesHeld(lane.planeKind);
      const announced = Buffer.alloc(HEADER_LENGTH + 40);
      announced[0] = FrameType.SendPacket;
      announced.writeUInt32BE(65_568, 1);
      for (const liar of liars) liar.send(pingFrame(Buffer.alloc(8)), announced);
      for (const liar of liars) await liar.expect('Pong');
      expect((await bytesHeld(lane.planeKind)) - before).toBeLessThan(MOST);
      for (const liar of liars) liar.wire.reset();
      await relay.untilFigures({ connections: 2 });
    };
    await bystanders.during(async () => expect(await growth(lane.planeKind, attack)).toBeLessThan(MOST));
  });

  it('memory for data ahead of a login is bounded, and none of the data is lost', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    const attack = async () => {
      const reader = await DerpClient.connect(relay);
      const clients = await Promise.all([...Array(10)].map(() => DerpClient.dial(relay)));
      const got = new Map<string, number[]>();
      reader.onPacket = (source, packet) => got.set(source, [...(got.get(source) ?? []), packet.readUInt32BE()]);
      // Request, ClientInfo and far more than may wait for an admission, in one write; twenty packets each.
      // One after the other: a queue has room for what one of them sends.
      for (const client of clients) {
        const ahead = [...Array(20).keys()].map((number) => sendPacketFrame(reader.key, numbered(number, 10_000)));
        await client.login(...ahead);
        await eventually(
          () => got.get(client.key)?.length === 20,
          () => `20 packets, not ${got.get(client.key)}`,
        );
        expect(got.get(client.key)).toEqual([...Array(20).keys()]);
      }
      // Data ahead of a login that fails reaches no client.
      const wrong = await DerpClient.dial(relay);
      wrong.wire.write(wrong.head, wrong.clientInfo.fill(7, 100), sendPacketFrame(reader.key, numbered(99, 10_000)));
      await wrong.closed();
      for (const client of [...clients, wrong]) await client.close();
      expect(got.has(wrong.key)).toBe(false);
      await reader.close();
      await relay.untilFigures({ connections: 2 });
    };
    await bystanders.during(async () => expect(await growth(lane.planeKind, attack)).toBeLessThan(MOST));
  });
});

/** A client whose ClientInfo has come so far, and will not come further. */
async function partialLogin(relay: TestRelay, bytes: number): Promise<DerpClient> {
  const client = await DerpClient.dial(relay);
  const header = Buffer.alloc(HEADER_LENGTH);
  header[0] = FrameType.ClientInfo;
  header.writeUInt32BE(262_144, 1);
  client.wire.write(client.head, header, Buffer.alloc(bytes, 1));
  return client;
}
