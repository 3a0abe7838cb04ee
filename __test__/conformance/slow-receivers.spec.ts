import { describe, expect, it, onTestFinished } from 'vitest';
import { balanced } from '../helpers/balance.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { fill, numbered, QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** No write deadline, and no limit of the same kind below it. */
const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

describe.each(LANES_AND_TLS)('a client that does not read, $name', (lane) => {
  it.each([false, true])(
    'a client that does not read loses its oldest packets, and other clients lose none; TLS %s',
    async (tls) => {
      const relay = await startRelay(lane, { tls, config: FOR_EVER });
      const [sender, frozen, other] = [
        await DerpClient.connect(relay),
        await DerpClient.connect(relay),
        await DerpClient.connect(relay),
      ];
      const got: number[] = [];
      frozen.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
      frozen.wire.stopReading();
      let sent = 0;
      while ((relay.drops().queue_head ?? 0) < 2 * QUEUE_DEPTH) {
        sender.sendPacket(frozen.key, numbered(sent));
        // Whatever becomes of the others', these come at once, both ways.
        sender.sendPacket(other.key, `to ${sent}`);
        expect(await other.expectPacket(`to ${sent}`)).toBe(sender.key);
        other.sendPacket(sender.key, `from ${sent}`);
        expect(await sender.expectPacket(`from ${sent}`)).toBe(other.key);
        sent += 1;
        expect(sent).toBeLessThan(2000);
      }
      frozen.wire.goOnReading();
      await eventually(
        () => got.at(-1) === sent - 1,
        () => `packet ${sent - 1} after ${got.at(-1)}`,
      );
      // What was on its way, a gap, and then what fits into the queue: the newest.
      const dropped = relay.drops().queue_head as number;
      expect(got).toEqual(got.toSorted((a, b) => a - b));
      expect(got).toHaveLength(sent - dropped);
      expect(got.slice(-QUEUE_DEPTH)).toEqual(
        Array.from({ length: QUEUE_DEPTH }, (_, index) => sent - QUEUE_DEPTH + index),
      );
      expect(got[0]).toBe(0);
      expect(relay.drops()).toEqual({ queue_head: dropped });
      expect(relay.count('bytes_dropped:queue_head:other')).toBe(dropped * 65536);
      await relay.untilCount('packets_sent', 3 * sent - dropped);
      expect(relay.disconnected).toEqual([]);
    },
  );

  it('regular packets push out only regular ones, and discovery packets only discovery packets', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const [sender, frozen] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const got: string[] = [];
    frozen.onPacket = (_source, packet) => got.push(packet.length < 100 ? 'disco' : 'regular');
    frozen.wire.stopReading();
    await fill(relay, sender, frozen);
    const before = relay.count('packets_dropped:queue_head:other');
    for (let count = 0; count < QUEUE_DEPTH; count++) sender.sendPacket(frozen.key, discoPacket());
    await sender.fence();
    expect(relay.count('packets_dropped:queue_head:disco')).toBe(0);
    expect(relay.count('packets_dropped:queue_head:other')).toBe(before);
    for (let count = 0; count < 5; count++) sender.sendPacket(frozen.key, discoPacket());
    await sender.fence();
    expect(relay.count('packets_dropped:queue_head:disco')).toBe(5);
    expect(relay.count('packets_dropped:queue_head:other')).toBe(before);
    frozen.wire.goOnReading();
    await balanced(relay);
    await eventually(() => got.filter((kind) => kind === 'disco').length === QUEUE_DEPTH, 'all of the discovery');
  });

  it('a client has queues of the configured depth', async () => {
    const relay = await startRelay(lane, { config: { ...FOR_EVER, queueDepth: 3 } });
    const [sender, frozen] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const got: number[] = [];
    frozen.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
    frozen.wire.stopReading();
    const sent = await fill(relay, sender, frozen);
    frozen.wire.goOnReading();
    await eventually(() => got.at(-1) === sent - 1, 'the last packet');
    expect(got.slice(-3)).toEqual([sent - 3, sent - 2, sent - 1]);
    // The one before them had to go, and as many as were in a row with it.
    expect(got.at(-4)).toBeLessThan(sent - QUEUE_DEPTH);
  });

  it.each([false, true])(
    'a client that does not read is closed after the write deadline, its packets accounted for; TLS %s',
    async (tls) => {
      const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 800 } });
      const [sender, frozen, other] = [
        await DerpClient.connect(relay),
        await DerpClient.connect(relay),
        await DerpClient.connect(relay),
      ];
      frozen.wire.stopReading();
      await fill(relay, sender, frozen);
      expect(await relay.endOf(frozen.key)).toBe('write_timeout');
      expect(relay.count('write_timeouts')).toBe(1);
      await balanced(relay);
      // Something was under way, something was queued, and somebody else is as well as ever.
      expect(relay.drops()).toMatchObject({ write_error: expect.any(Number), gone_disconnected: QUEUE_DEPTH });
      sender.sendPacket(other.key, 'still here');
      expect(await other.expectPacket('still here')).toBe(sender.key);
      expect(relay.disconnected).toHaveLength(1);
    },
  );

  it('a mesh peer has its own write deadline', async () => {
    const policy = { deadlines: { meshWrite: 1600 } };
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 500, tcpUserTimeout: 0 }, policy });
    const sender = await DerpClient.connect(relay);
    const [peer, client] = [await DerpClient.connect(relay, { meshKey: MESH_KEY }), await DerpClient.connect(relay)];
    for (const frozen of [peer, client]) frozen.wire.stopReading();
    const start = performance.now();
    await fill(relay, sender, peer);
    await fill(relay, sender, client);
    expect(await relay.endOf(client.key)).toBe('write_timeout');
    expect(await relay.endOf(peer.key)).toBe('write_timeout');
    expect(performance.now() - start).toBeGreaterThan(1595);
    expect(relay.count('write_timeouts')).toBe(2);
    await balanced(relay);
  });

  it.each([false, true])('a client that reads a little at times is not closed; TLS %s', async (tls) => {
    const deadline = 700;
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: deadline } });
    const [sender, slow] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    let read = 0;
    // A system opens a full window again only when a fair part of it is free: half a megabyte at a time.
    slow.onPacket = () => {
      read += 1;
      if (read % 8 === 0) slow.wire.stopReading();
    };
    slow.wire.stopReading();
    const reads = setInterval(() => slow.wire.goOnReading(), 20);
    onTestFinished(() => clearInterval(reads));
    const end = performance.now() + 2.5 * deadline;
    while (performance.now() < end) {
      // There is always more than it takes.
      await fill(relay, sender, slow, 1);
      const before = read;
      await eventually(() => read > before, 'a packet to be read');
    }
    expect(relay.disconnected).toEqual([]);
    expect(relay.count('write_timeouts')).toBe(0);
  });

  it('a client that disconnects unread leaves no packet unaccounted for', async () => {
    const relay = await startRelay(lane, { config: FOR_EVER });
    const [sender, frozen] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    frozen.wire.stopReading();
    await fill(relay, sender, frozen);
    frozen.wire.reset();
    expect(await relay.endOf(frozen.key)).toBe('disconnected');
    await balanced(relay);
    expect(relay.drops().gone_disconnected).toBe(QUEUE_DEPTH);
  });
});
