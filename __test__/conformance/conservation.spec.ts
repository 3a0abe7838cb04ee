import { describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { Crowd } from '../helpers/crowd.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const CLIENTS = 20;

describe.each(LANES_AND_TLS)('conservation, $name', (lane) => {
  it.each([false, true])('the relay loses no packet of paced traffic; TLS %s', async (tls) => {
    const crowd = new Crowd(await startRelay(lane, { tls }));
    await crowd.join(CLIENTS);
    const keys = crowd.clients.map(({ key }) => key);
    for (let round = 0; round < 25; round++) {
      for (const client of crowd.clients) {
        for (let count = 0; count < 5; count++) crowd.send(client, crowd.pick(keys), 1400);
      }
      await crowd.allTaken();
    }
    expect((await crowd.balanced()).dropped).toBe(0);
    expect(crowd.delivered).toBe(25 * 5 * CLIENTS);
  });

  it.each([false, true])('the relay accounts for every packet of a flood; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const crowd = new Crowd(relay);
    await crowd.join(CLIENTS);
    const keys = crowd.clients.map(({ key }) => key);
    const [slow, deaf] = crowd.clients as [DerpClient, DerpClient];
    const others = crowd.clients.slice(2);
    const destinations = [...keys, ...Array(4).fill(slow.key), ...Array(4).fill(deaf.key), generateKeyPair().publicKey];
    deaf.wire.stopReading();
    for (let round = 0; (relay.drops().queue_head ?? 0) < 200; round++) {
      if (round % 3 === 0) slow.wire.goOnReading();
      else slow.wire.stopReading();
      for (const client of others) {
        for (let count = 0; count < 15; count++) crowd.send(client, crowd.pick(destinations), 30_000);
      }
      await Promise.all(others.map((client) => client.fence()));
      expect(round).toBeLessThan(500);
    }
    for (const client of [slow, deaf]) client.wire.goOnReading();
    await crowd.allTaken();
    const { dropped } = await crowd.balanced();
    expect(dropped).toBeGreaterThan(200);
    expect(relay.drops().unknown_dest).toBeGreaterThan(0);
    expect(relay.disconnected).toEqual([]);
  });

  it('the relay accounts for every packet while clients connect and leave', async () => {
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const crowd = new Crowd(relay);
    await crowd.join(8);
    const steady = [...crowd.clients];
    const keys = [...Array(6)].map(() => generateKeyPair());
    let present: DerpClient[] = [];
    for (let round = 0; round < 12; round++) {
      const coming = await Promise.all(keys.map((pair) => DerpClient.connect(relay, { keys: pair })));
      const leaving = present;
      present = coming;
      for (const client of steady) {
        for (let count = 0; count < 40; count++) {
          crowd.send(
            client,
            crowd.pick([...steady.map(({ key }) => key), ...keys.map(({ publicKey }) => publicKey)]),
            5000,
          );
        }
      }
      for (const client of leaving) client.wire.reset();
    }
    for (const client of present) await client.close();
    await Promise.all(steady.map((client) => client.fence()));
    await relay.untilFigures({ connections: steady.length });
    // The packets that a client still read before it left are unknown, but the relay's figures are known.
    const accounted = () =>
      Object.values(relay.drops()).reduce((sum, count) => sum + count, relay.count('packets_sent'));
    await eventually(
      () => accounted() === crowd.sent,
      () => `${crowd.sent} packets to be accounted for, not ${accounted()}: ${JSON.stringify(relay.drops())}`,
    );
    expect(crowd.faults).toEqual([]);
  });
});
