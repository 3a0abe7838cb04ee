import { describe, expect, it } from 'vitest';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';
import { fill } from '../helpers/traffic.js';
import { turn } from '../helpers/wait.js';

nothingIsLeft();

/** How late a deadline may be met, on a machine that does other things too. */
const LATE = 20_000;

describe.each(LANES_AND_TLS)('keepalives and pongs, $name', (lane) => {
  it('keepalives arrive one interval and part of the jitter after the last', async () => {
    const keepAlive = { interval: 200, jitter: 100 };
    const relay = await startRelay(lane, { policy: { keepAlive } });
    const start = performance.now();
    const client = await DerpClient.connect(relay);
    const count = 5;
    for (let frame = 1; frame <= count; frame++) {
      await client.expect('KeepAlive');
      // Never early, however busy the machine is: each is timed from the one before it.
      expect(performance.now() - start).toBeGreaterThan(frame * keepAlive.interval - 5);
    }
    expect(performance.now() - start).toBeLessThan(count * (keepAlive.interval + keepAlive.jitter) + LATE);
  });

  it('the jitter spreads keepalives', async () => {
    const keepAlive = { interval: 50, jitter: 400 };
    const relay = await startRelay(lane, { policy: { keepAlive } });
    const waits = await Promise.all(
      [...Array(20)].map(async () => {
        const client = await DerpClient.connect(relay);
        const start = performance.now();
        await client.expect('KeepAlive');
        return performance.now() - start;
      }),
    );
    expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(130);
    expect(Math.max(...waits)).toBeLessThan(450 + LATE);
  });

  it('keepalives arrive whatever else happens', async () => {
    const relay = await startRelay(lane, { tls: true, policy: { keepAlive: { interval: 150, jitter: 0 } } });
    const client = await DerpClient.connect(relay);
    const frames: string[] = [];
    const start = performance.now();
    while (frames.filter((type) => type === 'KeepAlive').length < 3) {
      client.sendPacket(client.key, 'busy');
      const { type } = await client.next();
      frames.push(type);
      expect(performance.now() - start).toBeLessThan(450 + LATE);
    }
    expect(frames.filter((type) => type === 'RecvPacket').length).toBeGreaterThan(10);
  });

  it('no keepalive arrives before the login', async () => {
    const relay = await startRelay(lane, { policy: { keepAlive: { interval: 50, jitter: 0 } } });
    const waiting = await DerpClient.dial(relay);
    waiting.wire.write(waiting.head);
    waiting.readFrames();
    await waiting.expect('ServerKey');
    const client = await DerpClient.connect(relay);
    for (let count = 0; count < 4; count++) await client.expect('KeepAlive');
    // Nothing came between the greeting and the answer to its login.
    waiting.send(waiting.clientInfo);
    await waiting.expect('ServerInfo');
  });

  it('each connection of a key gets keepalives, and the relay accepts a client’s own', async () => {
    const relay = await startRelay(lane, { policy: { keepAlive: { interval: 100, jitter: 0 } } });
    const first = await DerpClient.connect(relay);
    const second = await DerpClient.connect(relay, { keys: first.keys });
    first.send(Buffer.of(6, 0, 0, 0, 0));
    const other = await DerpClient.connect(relay);
    const intervals = 8;
    for (let count = 0; count < intervals; count++) await other.expect('KeepAlive');
    // What is due in one interval does not come twice, nor to one of the two alone.
    for (const client of [first, second]) {
      const frames = await client.fence();
      expect(frames.every(({ type }) => type === 'KeepAlive')).toBe(true);
      expect(frames.length).toBeGreaterThan(intervals / 2);
      expect(frames.length).toBeLessThan(intervals * 1.5);
    }
  });

  it('only one pong waits for a client that does not read', async () => {
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const [sender, client] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    let packets = 0;
    client.onPacket = () => {
      packets += 1;
    };
    client.wire.stopReading();
    await fill(relay, sender, client);
    const before = relay.count('got_ping');
    for (let number = 1; number <= 5; number++) client.ping(Buffer.from([0, 0, 0, 0, 0, 0, 0, number]));
    await relay.untilCount('got_ping', before + 5);
    client.wire.goOnReading();
    expect(await client.expect('Pong')).toEqual({ type: 'Pong', data: '0000000000000001' });
    // The pong came before the packets that were waiting then, and with them it was all.
    expect(await client.fence()).toEqual([]);
    while (packets < relay.count('packets_sent')) await turn();
    expect(relay.count('sent_pong')).toBe(relay.count('got_ping') - 4);
    // The mailbox is free again.
    expect(await client.fence()).toEqual([]);
  });
});
