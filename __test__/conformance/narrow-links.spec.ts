import { describe, expect, it } from 'vitest';
import { balanced } from '../helpers/balance.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';
import { fill, numbered, QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** No write deadline, and no limit of the same kind below it. */
const FOR_EVER = { tcpWriteTimeout: 0, tcpUserTimeout: 0 };

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

  it.each([false, true])(
    'packets that stand too long for a client that reads all the time are dropped by age, and the last is not; TLS %s',
    async (tls) => {
      // Deeper than what a socket takes at once.
      const relay = await startRelay(lane, { tls, config: { ...FOR_EVER, queueDepth: 128 } });
      const [sender, slow] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
      const got: number[] = [];
      slow.onPacket = (_source, packet) => got.push(packet.readUInt32BE());
      slow.wire.stopReading();
      let sent = await fill(relay, sender, slow);
      const tooOld = () => relay.drops().queue_age ?? 0;
      // For each packet that it reads another one comes, and one more, for what the system may hold ever more of.
      await eventually(
        async () => {
          const before = got.length;
          slow.wire.goOnReading();
          await eventually(() => got.length > before, 'a packet');
          slow.wire.stopReading();
          for (let count = before; count <= got.length; count++) {
            sender.sendPacket(slow.key, numbered(sent));
            sent += 1;
          }
          await sender.fence();
          return tooOld() > 0;
        },
        () => `packets to be too old: ${JSON.stringify(relay.drops())}`,
      );
      slow.wire.goOnReading();
      await eventually(() => got.at(-1) === sent - 1, 'the last packet');
      const drops = relay.drops();
      expect(got).toEqual(got.toSorted((a, b) => a - b));
      expect(got).toHaveLength(sent - (drops.queue_age ?? 0) - (drops.queue_head ?? 0));
      expect(Object.keys(drops).sort()).toEqual(['queue_age', 'queue_head']);
      expect(relay.count('bytes_dropped:queue_age:other')).toBe((drops.queue_age ?? 0) * 65536);
      await balanced(relay);
      expect(relay.disconnected).toEqual([]);
    },
  );
});
