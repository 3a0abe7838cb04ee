/** Clients that an attack has nothing to do with, and all that has to be as it was when the attack is over. */
import { expect } from 'vitest';
import { balanced } from './balance.js';
import { type ClientOptions, DerpClient, describeFrame } from './client.js';
import { openSockets } from './leaks.js';
import type { TestRelay } from './relay.js';
import { eventually } from './wait.js';

/** Packets each way before one waits for the other: far fewer than a queue holds, so none may be lost. */
const ROUND = 4;

const GAUGES = ['home', 'notIdeal', 'dupKeys', 'dupConnections', 'connections', 'localKeys', 'watchers'] as const;

export class Bystanders {
  private readonly ways: readonly Way[];

  private constructor(
    private readonly relay: TestRelay,
    private readonly clients: readonly [DerpClient, DerpClient],
  ) {
    const [a, b] = clients;
    this.ways = [new Way(a, b), new Way(b, a)];
  }

  static async join(relay: TestRelay, options: ClientOptions = {}): Promise<Bystanders> {
    return new Bystanders(relay, [await DerpClient.connect(relay, options), await DerpClient.connect(relay, options)]);
  }

  /** Somebody whom an attacker can have as a target. */
  get key(): DerpClient['key'] {
    return this.clients[0].key;
  }

  /**
   * Keeps packets going both ways while the attack lasts, which has to end all connections of its own. No packet is lost,
   * and in the end the relay's gauges, its books and the sockets of this process are as they were.
   */
  async during(attack: () => Promise<unknown>): Promise<void> {
    const [sockets, gauges] = [openSockets(), this.gauges()];
    let over = false;
    const attacked = attack().finally(() => {
      over = true;
    });
    const traffic = async () => {
      while (!over) await this.round();
    };
    await Promise.all([attacked, traffic()]);
    await eventually(
      () => JSON.stringify(this.gauges()) === JSON.stringify(gauges),
      () => `the gauges to be ${JSON.stringify(gauges)} again, not ${JSON.stringify(this.gauges())}`,
    );
    await eventually(
      () => openSockets() === sockets,
      () => `${sockets} sockets to be open again, not ${openSockets()}`,
    );
    await this.round();
    for (const client of this.clients) {
      // Keepalives come of themselves, however long all of it takes.
      const frames = (await client.fence()).filter(({ type }) => type !== 'PeerGone' && type !== 'KeepAlive');
      expect(frames.map(describeFrame)).toEqual([]);
    }
    const { total } = await this.relay.dataPlane.snapshot(0, 0);
    expect(total).toBe(gauges.connections);
    await balanced(this.relay);
  }

  private gauges(): Record<(typeof GAUGES)[number], number> {
    const figures = this.relay.relay.figures();
    return Object.fromEntries(GAUGES.map((name) => [name, figures[name]])) as ReturnType<Bystanders['gauges']>;
  }

  private async round(): Promise<void> {
    for (const way of this.ways) way.send(ROUND);
    for (const way of this.ways) await way.arrived();
  }
}

/** Connects two clients. The returned function checks that a packet still gets from one to the other. */
export async function bystanderPair(relay: TestRelay): Promise<() => Promise<void>> {
  const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
  return async () => {
    a.sendPacket(b.key, 'undisturbed');
    expect(await b.expectPacket('undisturbed')).toBe(a.key);
    expect(await a.fence()).toEqual([]);
  };
}

/** Numbered packets from one to the other. */
class Way {
  private sent = 0;
  private arrivals = 0;
  private fault: string | undefined;

  constructor(
    private readonly from: DerpClient,
    private readonly to: DerpClient,
  ) {
    to.onPacket = (source, packet) => {
      // An attacker's packets are welcome to come, and are not looked at.
      if (source === from.key) this.onPacket(packet);
    };
  }

  send(count: number): void {
    for (let packet = 0; packet < count; packet++) {
      const bytes = Buffer.alloc(100 + (this.sent % 1300), this.sent & 0xff);
      bytes.writeUInt32BE(this.sent);
      this.from.sendPacket(this.to.key, bytes);
      this.sent += 1;
    }
  }

  async arrived(): Promise<void> {
    await eventually(
      () => this.arrivals === this.sent || this.fault !== undefined,
      () => `packet ${this.sent - 1} after ${this.arrivals - 1}; the bystander is ${this.state}`,
    );
    expect(this.fault).toBeUndefined();
  }

  private get state(): string {
    return this.from.wire.isOver || this.to.wire.isOver ? 'cut off' : 'connected';
  }

  private onPacket(packet: Buffer): void {
    const number = packet.readUInt32BE();
    const intact =
      packet.length === 100 + (number % 1300) && packet.subarray(4).every((byte) => byte === (number & 0xff));
    if (number !== this.arrivals) this.fault ??= `packet ${number} came where ${this.arrivals} was due`;
    if (!intact) this.fault ??= `packet ${number} was changed`;
    this.arrivals += 1;
  }
}
