/** Sent is delivered and dropped, to the packet, over two relays as over one. */
import { describe, expect, it } from 'vitest';
import { generateKeyPair } from '../../src/protocol/key.js';
import type { DerpClient } from '../helpers/client.js';
import { Crowd } from '../helpers/crowd.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startMesh, untilRemote } from '../helpers/mesh.js';
import type { TestRelayOptions } from '../helpers/relay.js';

nothingIsLeft();

const CLIENTS = 10;

describe.each(LANES)('conservation across a mesh, $name', (lane) => {
  /** Two relays whose clients all know of each other. */
  async function crowded(options: TestRelayOptions = {}) {
    const relays = await startMesh(lane, 2, options);
    const crowd = new Crowd(...relays);
    await crowd.join(CLIENTS);
    // The other relay’s key is one of the other’s clients.
    await Promise.all(relays.map((relay) => untilRemote(relay, CLIENTS + 1)));
    await Promise.all(relays.map((relay) => relay.commandsDone()));
    return { relays, crowd, keys: crowd.clients.map(({ key }) => key) };
  }

  it('the mesh loses no packet of paced traffic', async () => {
    const { relays, crowd, keys } = await crowded();
    for (let round = 0; round < 25; round++) {
      for (const client of crowd.clients) {
        for (let count = 0; count < 5; count++) crowd.send(client, crowd.pick(keys), 1400);
      }
      await crowd.allTaken();
    }
    expect((await crowd.balanced()).dropped).toBe(0);
    expect(crowd.delivered).toBe(25 * 5 * 2 * CLIENTS);
    const [out, into] = (['packets_forwarded_out', 'packets_forwarded_in'] as const).map((name) =>
      relays.reduce((sum, relay) => sum + relay.count(name), 0),
    );
    expect(out).toBeGreaterThan(500);
    expect(into).toBe(out);
  });

  it('the mesh accounts for every packet of a flood', async () => {
    const { relays, crowd, keys } = await crowded({
      config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 },
      policy: { linkQueueDepth: 4 },
    });
    const links = () => relays.flatMap(({ relay }) => relay.mesh()).map(({ trouble }) => trouble);
    const before = links();
    const deaf = crowd.clients.at(-1) as DerpClient;
    const others = crowd.clients.slice(0, -1);
    const destinations = [...keys, ...Array(4).fill(deaf.key), generateKeyPair().publicKey];
    deaf.wire.stopReading();
    const dropped = (reason: string) => relays.reduce((sum, relay) => sum + (relay.drops()[reason] ?? 0), 0);
    // The speed of the other relay decides how much the link drops, and how much the queue of a client that does not read.
    for (let round = 0; dropped('mesh_queue') + dropped('queue_head') < 400; round++) {
      for (const client of others) {
        for (let count = 0; count < 15; count++) crowd.send(client, crowd.pick(destinations), 30_000);
      }
      await Promise.all(others.map((client) => client.fence()));
      expect(round).toBeLessThan(500);
    }
    deaf.wire.goOnReading();
    await crowd.allTaken();
    expect((await crowd.balanced()).dropped).toBeGreaterThan(400);
    expect(dropped('unknown_dest')).toBeGreaterThan(0);
    expect(relays.flatMap(({ disconnected }) => disconnected)).toEqual([]);
    expect(links()).toEqual(before);
  });
});
