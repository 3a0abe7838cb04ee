import { connect } from 'node:net';
import { describe, expect, it } from 'vitest';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { SEED, seeded } from '../helpers/random.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const FLOOD = 300;
/** A client that hangs up is noticed, not timed out. */
const NEVER = { handshake: 600_000, head: 600_000, clientInfo: 600_000 };

/** A connection that goes so far and no further: nothing, half a head, a greeting, half a ClientInfo. */
async function stuck(relay: TestRelay, step: number): Promise<DerpClient> {
  const { host, port } = relay.target();
  // It stays half open when the relay ends its side.
  const socket = connect({ host, port, allowHalfOpen: true });
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', reject);
  });
  const client = new DerpClient(new Wire(socket), relay.keys.publicKey);
  const { head, clientInfo } = client;
  const sent = [
    Buffer.alloc(0),
    head.slice(0, 30),
    head,
    Buffer.concat([Buffer.from(head), clientInfo.subarray(0, 60)]),
  ][step % 4];
  if (sent?.length) client.wire.write(sent);
  return client;
}

describe.each(LANES)('a flood, $name', (lane) => {
  it(`a flood of ${FLOOD} half-open connections keeps no client out, and leaves no trace`, async () => {
    const relay = await startRelay(lane, { policy: { deadlines: NEVER } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const flood = await Promise.all([...Array(FLOOD).keys()].map((index) => stuck(relay, index)));
      await relay.untilCount('accepts', 2 + FLOOD / 2);
      const late = await DerpClient.connect(relay);
      expect(await late.fence()).toEqual([]);
      await late.close();
      expect(flood.filter(({ wire }) => wire.isOver)).toEqual([]);
      // One third says that it sends no more and waits, one is reset, one closes.
      for (const [index, { wire }] of flood.entries()) {
        if (index % 3 === 0) wire.end();
        else if (index % 3 === 1) wire.reset();
        else await wire.destroy();
      }
      for (const { wire } of flood) {
        await wire.ended();
        await wire.destroy();
      }
    });
    await relay.untilCount('logins_failed', FLOOD / 2);
    expect(relay.count('connections_refused')).toBe(0);
  });

  it.each([
    ['that send no request', 0, { handshakes: 50 }],
    ['that do not log in', 2, { pendingLogins: 50 }],
  ])(
    'a flood of connections %s stays within the limit, and the relay accepts clients throughout',
    async (_name, step, limits) => {
      const relay = await startRelay(lane, { policy: { limits, deadlines: NEVER } });
      const bystanders = await Bystanders.join(relay);
      await bystanders.during(async () => {
        const flood = await Promise.all([...Array(150)].map(() => stuck(relay, step)));
        await relay.untilCount('strangers_evicted:pool', 100);
        const ended = () => flood.filter(({ wire }) => wire.isOver).length;
        await eventually(
          () => ended() === 100,
          () => `100 of them to be ended, not ${ended()}`,
        );
        const late = await DerpClient.connect(relay);
        expect(await late.fence()).toEqual([]);
        await late.close();
        expect(relay.count('connections_refused')).toBe(0);
        for (const { wire } of flood) await wire.destroy();
      });
    },
  );

  it.each([
    ['no request', 0, { head: 400 }],
    ['no ClientInfo', 2, { clientInfo: 400 }],
    ['half a ClientInfo', 3, { clientInfo: 400 }],
  ])('a flood of connections with %s ends by itself at the deadline', async (_name, step, deadlines) => {
    const relay = await startRelay(lane, { policy: { deadlines } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const flood = await Promise.all([...Array(60)].map(() => stuck(relay, step)));
      for (const { wire } of flood) {
        await wire.ended();
        await wire.destroy();
      }
    });
    await relay.untilCount('logins_failed', step === 0 ? 0 : 60);
  });

  it('a flood of resets at every step leaves no trace', async () => {
    const relay = await startRelay(lane);
    const random = seeded(SEED);
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      for (let wave = 0; wave < 5; wave++) {
        await Promise.all(
          [...Array(40)].map(async (_, index) => {
            const client = await DerpClient.dial(relay);
            const login = Buffer.concat([Buffer.from(client.head), client.clientInfo]);
            if (index % 4 === 0) {
              // Logged in, with packets under way in both directions, and half of one.
              await client.login();
              for (let count = 0; count < 5; count++) client.sendPacket(client.key, numbered(count, 20_000));
              client.sendPacket(bystanders.key, numbered(0, 5000));
              client.send(Buffer.from([FrameType.SendPacket, 0, 0, 1, 0]));
            } else {
              client.wire.write(login.subarray(0, Math.floor(random() * (login.length + 1))));
            }
            if (index % 3 !== 0) await client.wire.flushed();
            client.wire.reset();
          }),
        );
      }
    });
    expect(relay.disconnected).toHaveLength(relay.connected.length - 2);
  });

  it('ten clients with one key deliver everything they send, and get each packet once', async () => {
    const relay = await startRelay(lane);
    const bystanders = await Bystanders.join(relay);
    const keys = generateKeyPair();
    const most = 60;
    await bystanders.during(async () => {
      const [sender, sink] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const fromThem: number[][] = [...Array(10)].map(() => []);
      sink.onPacket = (_source, packet) => fromThem[packet[4] as number]?.push(packet.readUInt32BE());
      const toThem: number[] = [];
      const fighters = await Promise.all(
        [...Array(10)].map(async () => {
          const fighter = await DerpClient.connect(relay, { keys });
          fighter.onPacket = (_source, packet) => toThem.push(packet.readUInt32BE());
          return fighter;
        }),
      );
      for (let number = 0; number < most; number++) {
        // All at once: the connection that is read last has the key, until the next is read.
        for (const [index, fighter] of fighters.entries()) {
          const packet = numbered(number, 100);
          packet[4] = index;
          fighter.sendPacket(sink.key, packet);
        }
        sender.sendPacket(keys.publicKey, numbered(number, 100));
        await Promise.all(fighters.map((fighter) => fighter.fence()));
        await sender.fence();
      }
      await eventually(
        () => toThem.length === most && fromThem.every(({ length }) => length === most),
        () =>
          `${most} packets to them, not ${toThem.length}, and from each, not ${fromThem.map(({ length }) => length)}`,
      );
      const all = [...Array(most).keys()];
      expect(toThem.toSorted((a, b) => a - b)).toEqual(all);
      for (const row of fromThem) expect(row).toEqual(all);
      await relay.untilFigures({ dupKeys: 1, dupConnections: 10 });
      expect(relay.drops()).toEqual({});
      // Some leave, some are closed for their frames, some come back; the key always has a connection.
      for (const fighter of fighters.slice(0, 3)) await fighter.close();
      for (const fighter of fighters.slice(3, 6)) fighter.send(Buffer.alloc(HEADER_LENGTH, 0xff));
      for (const fighter of fighters.slice(3, 6)) await fighter.closed();
      await relay.untilFigures({ dupKeys: 1, dupConnections: 4 });
      const again = await Promise.all([0, 1, 2].map(() => DerpClient.connect(relay, { keys })));
      for (const fighter of again) fighter.onPacket = (_source, packet) => toThem.push(packet.readUInt32BE());
      sender.sendPacket(keys.publicKey, numbered(most, 100));
      await eventually(() => toThem.at(-1) === most, 'the packet to be at one of them');
      for (const client of [...fighters, ...again, sender, sink]) await client.close();
    });
    const name = formatNodeKey(keys.publicKey);
    expect(relay.disconnected.filter(({ key }) => key === name)).toHaveLength(13);
  });
});
