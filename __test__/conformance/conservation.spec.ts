import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { SEED, seeded } from '../helpers/random.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const CLIENTS = 20;
const SEQUENCE_AT = 8;
const CHECKSUM_AT = 12;
const LEAST = 16;

/** Many clients, and the books of what they sent and got. */
class Crowd {
  readonly clients: DerpClient[] = [];
  sent = 0;
  delivered = 0;
  readonly faults: string[] = [];
  private readonly random = seeded(SEED);
  private readonly sentTo = new Map<string, number>();
  private readonly seen = new Map<string, number>();

  constructor(readonly relay: TestRelay) {}

  async join(count: number): Promise<void> {
    this.clients.push(...(await Promise.all([...Array(count)].map(() => DerpClient.connect(this.relay)))));
    for (const client of this.clients) client.onPacket = (source, packet) => this.onPacket(client, source, packet);
  }

  pick<T>(from: readonly T[]): T {
    return from[Math.floor(this.random() * from.length)] as T;
  }

  /** One packet of random kind and size, with its number on this way and a checksum. */
  send(from: DerpClient, to: NodeKey, most: number): void {
    const disco = this.random() < 0.2;
    const length = (disco ? 62 : LEAST) + Math.floor(this.random() * most);
    const packet = disco ? discoPacket(0, length) : Buffer.alloc(length, Math.floor(this.random() * 256));
    if (!disco) packet[0] = 0;
    const way = `${from.key}>${to}>${disco}`;
    const sequence = this.sentTo.get(way) ?? 0;
    this.sentTo.set(way, sequence + 1);
    packet.writeUInt32BE(sequence, SEQUENCE_AT);
    packet.writeUInt32BE(0, CHECKSUM_AT);
    packet.writeUInt32BE(crc32(packet), CHECKSUM_AT);
    from.sendPacket(to, packet);
    this.sent += 1;
  }

  /** All that was sent has been read by the relay. Whoever waits for its answer has to read. */
  async allTaken(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.fence()));
    const { relay } = this;
    expect(relay.count('packets_received:disco') + relay.count('packets_received:other')).toBe(this.sent);
  }

  /** Sent is delivered and dropped, to the packet. */
  async balanced(): Promise<{ dropped: number }> {
    const { relay } = this;
    const dropped = () => Object.values(relay.drops()).reduce((sum, count) => sum + count, 0);
    await eventually(
      () => relay.count('packets_sent') + dropped() === this.sent && this.delivered === relay.count('packets_sent'),
      () =>
        `${this.sent} sent to be ${this.delivered} delivered (the relay says ${relay.count('packets_sent')}) and ` +
        `${dropped()} dropped: ${JSON.stringify(relay.drops())}`,
    );
    expect(this.faults).toEqual([]);
    return { dropped: dropped() };
  }

  private onPacket(client: DerpClient, source: NodeKey, packet: Buffer): void {
    this.delivered += 1;
    const disco = packet[0] !== 0;
    const way = `${source}>${client.key}>${disco}`;
    const checksum = packet.readUInt32BE(CHECKSUM_AT);
    packet.writeUInt32BE(0, CHECKSUM_AT);
    if (crc32(packet) !== checksum) this.faults.push('a packet was changed');
    const sequence = packet.readUInt32BE(SEQUENCE_AT);
    if (sequence <= (this.seen.get(way) ?? -1)) this.faults.push('a packet came out of order, or twice');
    if (sequence >= (this.sentTo.get(way) ?? 0)) this.faults.push('a packet came that was not sent on this way');
    this.seen.set(way, sequence);
  }
}

describe.each(LANES)('conservation, $name', (lane) => {
  it.each([false, true])('loses nothing of paced traffic; TLS %s', async (tls) => {
    const crowd = new Crowd(await startRelay(lane, { tls }));
    await crowd.join(CLIENTS);
    const keys = crowd.clients.map(({ key }) => key);
    for (let round = 0; round < 25; round++) {
      for (const client of crowd.clients) {
        for (let count = 0; count < 5; count++) crowd.send(client, crowd.pick(keys), 1400);
      }
      await crowd.allTaken();
    }
    expect((await crowd.balanced()).dropped).toBe(0);
    expect(crowd.delivered).toBe(25 * 5 * CLIENTS);
  });

  it.each([false, true])('accounts for every packet of a flood; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const crowd = new Crowd(relay);
    await crowd.join(CLIENTS);
    const keys = crowd.clients.map(({ key }) => key);
    const [slow, deaf] = crowd.clients as [DerpClient, DerpClient];
    const others = crowd.clients.slice(2);
    const destinations = [...keys, ...Array(4).fill(slow.key), ...Array(4).fill(deaf.key), generateKeyPair().publicKey];
    deaf.wire.stopReading();
    for (let round = 0; (relay.drops().queue_head ?? 0) < 200; round++) {
      if (round % 3 === 0) slow.wire.goOnReading();
      else slow.wire.stopReading();
      for (const client of others) {
        for (let count = 0; count < 15; count++) crowd.send(client, crowd.pick(destinations), 30_000);
      }
      await Promise.all(others.map((client) => client.fence()));
      expect(round).toBeLessThan(500);
    }
    for (const client of [slow, deaf]) client.wire.goOnReading();
    await crowd.allTaken();
    const { dropped } = await crowd.balanced();
    expect(dropped).toBeGreaterThan(200);
    expect(relay.drops().unknown_dest).toBeGreaterThan(0);
    expect(relay.disconnected).toEqual([]);
  });

  it('accounts for every packet while clients come and go', async () => {
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const crowd = new Crowd(relay);
    await crowd.join(8);
    const steady = [...crowd.clients];
    const keys = [...Array(6)].map(() => generateKeyPair());
    let present: DerpClient[] = [];
    for (let round = 0; round < 12; round++) {
      const coming = await Promise.all(keys.map((pair) => DerpClient.connect(relay, { keys: pair })));
      const leaving = present;
      present = coming;
      for (const client of steady) {
        for (let count = 0; count < 40; count++) {
          crowd.send(
            client,
            crowd.pick([...steady.map(({ key }) => key), ...keys.map(({ publicKey }) => publicKey)]),
            5000,
          );
        }
      }
      for (const client of leaving) client.wire.reset();
    }
    for (const client of present) await client.close();
    await Promise.all(steady.map((client) => client.fence()));
    await relay.untilFigures({ connections: steady.length });
    // What those who have left still read is not to be known; what the relay says of them is.
    const accounted = () =>
      Object.values(relay.drops()).reduce((sum, count) => sum + count, relay.count('packets_sent'));
    await eventually(
      () => accounted() === crowd.sent,
      () => `${crowd.sent} packets to be accounted for, not ${accounted()}: ${JSON.stringify(relay.drops())}`,
    );
    expect(crowd.faults).toEqual([]);
  });
});
