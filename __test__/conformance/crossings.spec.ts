import { once } from 'node:events';
import { describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startMesh, untilRemote } from '../helpers/mesh.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { WebSocketClient } from '../helpers/websocket.js';

nothingIsLeft();

/** Calls of the binding, and callbacks from it. Where there is no binding, both stay 0, and nothing here can be tested. */
function crossings(relay: TestRelay): { up: number; down: number } {
  return { up: relay.count('crossings_up'), down: relay.count('crossings_down') };
}

const WAYS = [
  { name: 'raw', tls: false, webSocket: false },
  { name: 'in a WebSocket', tls: false, webSocket: true },
  { name: 'in a WebSocket over TLS', tls: true, webSocket: true },
];

describe.each(LANES_AND_TLS)('crossings between JavaScript and the addon, $name', (lane) => {
  const native = lane.planeKind === 'native';

  it('the counters show the crossings of both directions, if there is a binding', async () => {
    const relay = await startRelay(lane);
    const before = crossings(relay);
    await DerpClient.connect(relay);
    await relay.untilFigures({ connections: 1 });
    const after = crossings(relay);
    if (native) {
      expect(after.up).toBeGreaterThan(before.up);
      expect(after.down).toBeGreaterThan(before.down);
    } else {
      expect(after).toEqual({ up: 0, down: 0 });
    }
  });

  it.runIf(native).each(WAYS)('packets cause no crossings, $name', async ({ tls, webSocket }) => {
    const relay = await startRelay(lane, { tls });
    const connect = async () => {
      if (!webSocket) return DerpClient.connect(relay);
      return DerpClient.over(await WebSocketClient.open(relay), relay);
    };
    const [from, to] = [await connect(), await connect()];
    let delivered = 0;
    to.onPacket = () => {
      delivered += 1;
    };
    await Promise.all([from.fence(), to.fence()]);
    await relay.commandsDone();
    const before = crossings(relay);
    for (let sent = 1; sent <= 10_000; sent++) {
      from.sendPacket(to.key, Buffer.alloc(100));
      if (sent % 20 === 0) await from.fence();
    }
    await eventually(
      () => delivered === 10_000,
      () => `10000 packets, not ${delivered}: ${JSON.stringify(relay.drops())}`,
    );
    expect(crossings(relay)).toEqual(before);
  });

  it.runIf(native)('packets between meshed relays cause no crossings', async () => {
    const [here, there] = (await startMesh(lane, 2)) as [TestRelay, TestRelay];
    const [from, to] = [await DerpClient.connect(here), await DerpClient.connect(there)];
    await Promise.all([untilRemote(here, 2), untilRemote(there, 2)]);
    await Promise.all([here.commandsDone(), there.commandsDone()]);
    let delivered = 0;
    to.onPacket = () => {
      delivered += 1;
    };
    // The first packet of a source.
    from.sendPacket(to.key, Buffer.alloc(100));
    await eventually(() => delivered === 1, 'the first packet');
    await Promise.all([from.fence(), here.commandsDone(), there.commandsDone()]);
    const before = [here, there].map(crossings);
    for (let sent = 1; sent <= 10_000; sent++) {
      from.sendPacket(to.key, Buffer.alloc(100));
      if (sent % 20 === 0) await from.fence();
    }
    await eventually(
      () => delivered === 10_001,
      () => `10001 packets, not ${delivered}: ${JSON.stringify([here.drops(), there.drops()])}`,
    );
    expect([here, there].map(crossings)).toEqual(before);
    expect(here.count('packets_forwarded_out')).toBe(10_001);
  });

  it('two connections that fight over a key cause few crossings', async () => {
    const relay = await startRelay(lane);
    const keys = generateKeyPair();
    const clones = [await DerpClient.connect(relay, { keys }), await DerpClient.connect(relay, { keys })] as const;
    const other = await DerpClient.connect(relay);
    await relay.untilFigures({ connections: 3 });
    const switches = relay.activeEvents;
    const before = crossings(relay);
    const begin = performance.now();
    const rounds = 1500;
    for (let round = 0; round < rounds; round++) {
      for (const clone of clones) {
        clone.sendPacket(other.key, Buffer.alloc(100));
        await clone.fence();
        await other.expect('RecvPacket');
      }
    }
    await eventually(() => relay.activeEvents > switches, 'a switch to be reported');
    const seconds = (performance.now() - begin) / 1000;
    const after = crossings(relay);
    // Each report is a callback, and the call that fetches it; one may be under way at either end.
    expect(after.up - before.up + after.down - before.down).toBeLessThanOrEqual(100 * seconds + 4);
    expect(relay.activeEvents - switches).toBeLessThanOrEqual(100 * seconds + 2);
  });

  it.runIf(native)('a client that connects and leaves causes a handful of crossings', async () => {
    const relay = await startRelay(lane);
    const clients = 200;
    const before = crossings(relay);
    for (let count = 0; count < clients; count++) {
      const client = await DerpClient.connect(relay, { keys: KEYS });
      const gone = once(relay.relay, 'disconnected');
      await client.close();
      await gone;
    }
    const after = crossings(relay);
    // Told of the login and of the end, it fetches both, and answers with `admit` and, after the end, `gone`.
    expect(after.up - before.up).toBeLessThanOrEqual(2 * clients);
    expect(after.down - before.down).toBeLessThanOrEqual(4 * clients);
  });
});

/** One for all: to make them takes longer than all else does. */
const KEYS = generateKeyPair();
