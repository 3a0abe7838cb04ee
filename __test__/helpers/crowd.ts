import { crc32 } from 'node:zlib';
import { expect } from 'vitest';
import type { NodeKey } from '../../src/protocol/key.js';
import { type ClientOptions, DerpClient, discoPacket } from './client.js';
import { SEED, seeded } from './random.js';
import type { TestRelay } from './relay.js';
import { eventually } from './wait.js';

const SEQUENCE_AT = 8;
const CHECKSUM_AT = 12;
const LEAST = 16;

/** Many clients, of one relay or of several that mesh, and the books of what they sent and got. */
export class Crowd {
  readonly clients: DerpClient[] = [];
  sent = 0;
  delivered = 0;
  readonly faults: string[] = [];
  private readonly random = seeded(SEED);
  private readonly sentTo = new Map<string, number>();
  private readonly seen = new Map<string, number>();

  private readonly relays: readonly TestRelay[];

  constructor(...relays: readonly TestRelay[]) {
    this.relays = relays;
  }

  /** So many clients for each relay. */
  async join(count: number, options: ClientOptions = {}): Promise<void> {
    for (const relay of this.relays) {
      this.clients.push(...(await Promise.all([...Array(count)].map(() => DerpClient.connect(relay, options)))));
    }
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
    expect(this.sum((relay) => relay.count('packets_received:disco') + relay.count('packets_received:other'))).toBe(
      this.sent,
    );
  }

  /** Sent is delivered and dropped, to the packet. */
  async balanced(): Promise<{ dropped: number }> {
    const dropped = () => this.sum((relay) => Object.values(relay.drops()).reduce((sum, count) => sum + count, 0));
    const taken = () => this.sum((relay) => relay.count('packets_sent'));
    await eventually(
      () => taken() + dropped() === this.sent && this.delivered === taken(),
      () =>
        `${this.sent} sent to be ${this.delivered} delivered (the relays say ${taken()}) and ` +
        `${dropped()} dropped: ${JSON.stringify(this.relays.map((relay) => relay.drops()))}`,
    );
    expect(this.faults).toEqual([]);
    return { dropped: dropped() };
  }

  private sum(of: (relay: TestRelay) => number): number {
    return this.relays.reduce((sum, relay) => sum + of(relay), 0);
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
