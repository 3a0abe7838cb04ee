/** Packets from every client to every other, in turn, with numbers: what arrives is counted, and its order checked. */
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds between two packets of a client. */
const PAUSE = 5;
/** Milliseconds in which the last packets arrive. */
const SETTLE = 500;

export class Talk {
  sent = 0;
  received = 0;
  outOfOrder = 0;
  #clients;
  /** The last number by pair: sent, and received. */
  #numbers = new Map();
  #seen = new Map();
  #probes = new Set();
  #stopped = false;

  constructor(clients) {
    this.#clients = clients;
    for (const client of clients) client.onPacket = (from, packet) => this.#got(client, from, packet);
  }

  /** Whether a packet of every client has just reached every other. */
  async reaches() {
    this.#probes.clear();
    const wanted = this.#pairs().map(([from, to]) => `${from.key}${to.key}`);
    for (const [from, to] of this.#pairs()) from.send(to.key, Buffer.from('probe'));
    for (let wait = 0; wait < 20 && !wanted.every((pair) => this.#probes.has(pair)); wait++) await delay(20);
    return wanted.every((pair) => this.#probes.has(pair));
  }

  /** Talks for so long, and waits for what is on its way. */
  async during(milliseconds) {
    const before = { sent: this.sent, received: this.received, outOfOrder: this.outOfOrder };
    const end = performance.now() + milliseconds;
    let turn = 0;
    while (performance.now() < end && !this.#stopped) {
      for (const [index, from] of this.#clients.entries()) {
        const to = this.#clients[(index + 1 + (turn % (this.#clients.length - 1))) % this.#clients.length];
        this.#send(from, to);
      }
      turn += 1;
      await delay(PAUSE);
    }
    for (let wait = 0; wait < SETTLE / 20 && this.received - before.received < this.sent - before.sent; wait++)
      await delay(20);
    return {
      sent: this.sent - before.sent,
      received: this.received - before.received,
      outOfOrder: this.outOfOrder - before.outOfOrder,
    };
  }

  /** Talks until it is stopped. */
  async until() {
    this.#stopped = false;
    return this.during(Number.POSITIVE_INFINITY);
  }

  stop() {
    this.#stopped = true;
  }

  #pairs() {
    return this.#clients.flatMap((from) => this.#clients.filter((to) => to !== from).map((to) => [from, to]));
  }

  #send(from, to) {
    const pair = `${from.key}${to.key}`;
    const number = (this.#numbers.get(pair) ?? 0) + 1;
    if (!from.send(to.key, Buffer.from(String(number)))) return;
    this.#numbers.set(pair, number);
    this.sent += 1;
  }

  #got(client, from, packet) {
    const pair = `${from}${client.key}`;
    if (packet.toString() === 'probe') {
      this.#probes.add(pair);
      return;
    }
    const number = Number(packet.toString());
    this.received += 1;
    if (number <= (this.#seen.get(pair) ?? 0)) this.outOfOrder += 1;
    this.#seen.set(pair, number);
  }
}
