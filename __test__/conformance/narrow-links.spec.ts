import { setTimeout } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { SNAPSHOT_COLUMNS } from '../../src/plane/plane.js';
import { nodeKeyBytes } from '../../src/protocol/key.js';
import { balanced } from '../helpers/balance.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { fill, numbered, QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** No write deadline, and no limit of the same kind below it. */
const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

type Figures = Readonly<Record<(typeof SNAPSHOT_COLUMNS)[number], number>>;

/** The row of a client in a snapshot. */
async function figuresOf(relay: TestRelay, client: DerpClient): Promise<Figures> {
  const connected = relay.connected.find(({ key }) => key.endsWith(nodeKeyBytes(client.key).toString('hex')));
  const { rows } = await relay.dataPlane.snapshot((connected?.id ?? 0) - 1, 1);
  return Object.fromEntries(SNAPSHOT_COLUMNS.map((name, index) => [name, rows[index]])) as Figures;
}

/**
 * Has a client read eight large packets at a time, while a sender always sends more than it takes, until the relay has
 * dropped packets for their age. Returns how many were sent. `stop` has the client read no more.
 */
async function untilTooOld(relay: TestRelay, sender: DerpClient, slow: DerpClient, onPacket: (packet: Buffer) => void) {
  let [read, sent] = [0, 0];
  slow.onPacket = (_source, packet) => {
    read += 1;
    onPacket(packet);
    if (read % 8 === 0) slow.wire.stopReading();
  };
  const reads = setInterval(() => slow.wire.goOnReading(), 20);
  const stop = () => clearInterval(reads);
  onTestFinished(stop);
  while ((relay.drops().queue_age ?? 0) < 3) {
    for (let count = 0; count < 8; count++) sender.sendPacket(slow.key, numbered(sent++));
    await sender.fence();
    expect(sent).toBeLessThan(50_000);
  }
  return { sent, stop };
}

describe.each(LANES_AND_TLS)('the queue of a client that reads slowly, $name', (lane) => {
  it('a few packets of one sender go ahead of the bulk of another, which alone makes room', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const [bulk, sparse] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const frozen = await DerpClient.connect(relay);
    const got: { from: string; number: number }[] = [];
    frozen.onPacket = (source, packet) => got.push({ from: source, number: packet.readUInt32BE() });
    frozen.wire.stopReading();
    const sent = await fill(relay, bulk, frozen);
    const few = 5;
    const before = relay.count('packets_dropped:queue_head:other');
    for (let number = 0; number < few; number++) sparse.sendPacket(frozen.key, numbered(number, 100));
    await sparse.fence();
    expect(relay.count('packets_dropped:queue_head:other')).toBe(before + few);
    frozen.wire.goOnReading();
    await eventually(() => got.at(-1)?.number === sent - 1, 'the last of the bulk');
    const ofSparse = got.filter(({ from }) => from === sparse.key).map(({ number }) => number);
    expect(ofSparse).toEqual([0, 1, 2, 3, 4]);
    // What was under way already came first; what waited came behind them.
    const last = got.findLastIndex(({ from }) => from === sparse.key);
    expect(got.length - 1 - last).toBeGreaterThan(QUEUE_DEPTH - few - 10);
    await balanced(relay);
    expect(relay.disconnected).toEqual([]);
  });

  it('packets that stand for too long are dropped for their age, and counted once', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const [sender, slow] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const got: number[] = [];
    const { sent } = await untilTooOld(relay, sender, slow, (packet) => got.push(packet.readUInt32BE()));
    const figures = await figuresOf(relay, slow);
    expect(figures.droppedAge).toBeGreaterThan(2);
    expect(figures.droppedHead + figures.droppedAge).toBe(figures.packetsDropped);
    expect(figures.queueDelayMax).toBeGreaterThan(figures.queueDelayMean);
    expect(figures.queueDelayMean).toBeGreaterThan(0);
    await eventually(
      () => got.at(-1) === sent - 1,
      () => `packet ${sent - 1} after ${got.at(-1)}`,
    );
    // The last one is never too old, and those that came are in their order.
    expect(got).toEqual(got.toSorted((a, b) => a - b));
    const { queue_age: late = 0, queue_head: evicted = 0, ...others } = relay.drops();
    expect(others).toEqual({});
    expect(got).toHaveLength(sent - late - evicted);
    await balanced(relay);
  });

  it('a reader that was slow, stops, and comes back gets the newest packets', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const [sender, slow] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const got: number[] = [];
    const { stop } = await untilTooOld(relay, sender, slow, () => undefined);
    stop();
    slow.wire.stopReading();
    slow.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
    const sent = await fill(relay, sender, slow);
    // This is the pause; how long it is in the end does not matter.
    await setTimeout(1200);
    const late = relay.count('packets_dropped:queue_age:other');
    slow.wire.goOnReading();
    const newest = Array.from({ length: QUEUE_DEPTH }, (_, index) => sent - QUEUE_DEPTH + index);
    await eventually(() => got.at(-1) === sent - 1, 'the last packet');
    expect(got.slice(-QUEUE_DEPTH)).toEqual(newest);
    expect(relay.count('packets_dropped:queue_age:other')).toBe(late);
    await balanced(relay);
  });
});
