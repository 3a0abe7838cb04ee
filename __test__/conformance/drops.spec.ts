import { describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { fill } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

/** Packets that the plane has told of, by reason. */
function told(relay: TestRelay): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const { reason, packets } of relay.toldDrops) sums[reason] = (sums[reason] ?? 0) + packets;
  return sums;
}

describe.each(LANES_AND_TLS)('drops to watched keys, $name', (lane) => {
  it('the plane reports every drop to a watched key with source and reason, and none to other keys', async () => {
    const [watched, other] = [generateKeyPair(), generateKeyPair()];
    const policy = { watchedDrops: [watched.publicKey] };
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 }, policy });
    const sender = await DerpClient.connect(relay);
    for (let count = 0; count < 3; count++) sender.sendPacket(watched.publicKey, 'x');
    for (let count = 0; count < 3; count++) sender.sendPacket(other.publicKey, 'x');
    await eventually(() => told(relay).unknown_dest === 3, 'packets to nobody');
    const frozen = await DerpClient.connect(relay, { keys: watched });
    frozen.wire.stopReading();
    await fill(relay, sender, frozen);
    frozen.wire.reset();
    await relay.endOf(frozen.key);
    const counted = relay.drops();
    // Those to the other key are counted, and not told of.
    const expected = { ...counted, unknown_dest: 3 };
    expect(counted.unknown_dest).toBe(6);
    await eventually(
      () => JSON.stringify(Object.entries(told(relay)).sort()) === JSON.stringify(Object.entries(expected).sort()),
      () => `${JSON.stringify(expected)} to be told, not ${JSON.stringify(told(relay))}`,
    );
    for (const { source, destination } of relay.toldDrops) {
      expect([source, destination]).toEqual([sender.key, watched.publicKey]);
    }
    // They come together, not one by one.
    expect(relay.toldDrops.length).toBeLessThan(counted.queue_head as number);
  });
});
