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
});
