/** Relays of a full mesh that announce themselves in NATS. */
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import type { RelayConfig } from '../../src/index.js';
import { generateKeyPair, type KeyPair } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { hosts, trustOwnCertificate } from '../helpers/mesh.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { newRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

const program = builtNats();
const PORT = 21_444;

describe.skipIf(!program)('relays that announce themselves in NATS', () => {
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string);
  });
  afterAll(() => nats.stop());

  describe.each(LANES)('$name', (lane) => {
    it('they find each other, and one that comes; links stay while NATS is down; one that drains is left', async () => {
      trustOwnCertificate();
      const region = `r${Math.random().toString(36).slice(2)}`;
      const [here, there, late] = hosts(3) as [string, string, string];
      const [a, b, c] = [here, there, late].map((host) => node(lane, host, region)) as [
        TestRelay,
        TestRelay,
        TestRelay,
      ];
      await Promise.all([a.relay.start(), b.relay.start()]);
      await untilStates(a, `${there} connected`);
      await untilStates(b, `${here} connected`);
      await c.relay.start();
      await untilStates(a, `${there} connected`, `${late} connected`);
      await untilStates(c, `${here} connected`, `${there} connected`);
      const [alice, bob] = await Promise.all([DerpClient.connect(a), DerpClient.connect(b)]);
      // Two clients, and each relay as a mesh peer of both others.
      await eventually(
        () => a.relay.figures().totalKeys === 5,
        () => JSON.stringify(a.relay.figures()),
      );
      await a.commandsDone();
      const pass = async (text: string) => {
        alice.sendPacket(bob.key, text);
        expect(await bob.expectPacket(text)).toBe(alice.key);
      };
      await pass('with NATS');
      const since = () => a.relay.mesh().map((link) => link.since);
      const before = since();
      await nats.kill();
      await eventually(
        () => source(a)?.state === 'failing',
        () => JSON.stringify(a.relay.meshSources()),
      );
      await pass('without NATS');
      await nats.again();
      await eventually(
        () => source(a)?.state === 'good',
        () => JSON.stringify(a.relay.meshSources()),
      );
      await eventually(
        () => source(a)?.relays === 2,
        () => JSON.stringify(a.relay.meshSources()),
      );
      expect(since()).toEqual(before);
      await pass('with NATS again');
      await c.relay.drain();
      await eventually(
        () => source(a)?.relays === 1,
        () => JSON.stringify(a.relay.meshSources()),
      );
      await c.relay.close();
      await untilStates(a, `${there} connected`);
    });
  });

  it('two relays with one key that find each other in NATS report each other as twins', async () => {
    trustOwnCertificate();
    const region = `r${Math.random().toString(36).slice(2)}`;
    const [here, there] = hosts(2) as [string, string];
    const keys = generateKeyPair();
    const lane = LANES[0] as Lane;
    const [a, b] = [node(lane, here, region, keys), node(lane, there, region, keys)];
    await Promise.all([a.relay.start(), b.relay.start()]);
    await untilStates(a, `${there} twin`);
    await untilStates(b, `${here} twin`);
  });

  const source = (relay: TestRelay) => relay.relay.meshSources()[0];

  /** A relay at its own address, which it has to announce: NATS sees all of them at one. */
  function node(lane: Lane, host: string, region: string, keys?: KeyPair): TestRelay {
    const advertise = { address: host, port: PORT, tlsName: 'localhost' };
    const config: RelayConfig = {
      listen: `${host}:${PORT}`,
      mesh: { discover: [{ nats: true }], region, advertise, drainDelay: 0 },
      nats: { servers: `127.0.0.1:${nats.port}` },
    };
    const relay = newRelay(lane, {
      ...(keys && { keys }),
      tls: true,
      meshTimes: { retry: 300, jitter: 100, longest: 1_000, linger: 500, recheck: 500 },
      config,
    });
    onTestFinished(() => relay.relay.close());
    return relay;
  }

  /** Waits until the relay's links are in these states, as `address state`. */
  async function untilStates(relay: TestRelay, ...wanted: string[]): Promise<void> {
    const states = () => relay.relay.mesh().map((link) => `${link.relay.replace(`:${PORT}`, '')} ${link.state}`);
    await eventually(
      () => states().sort().join() === [...wanted].sort().join(),
      () => `${wanted.join()}: ${JSON.stringify(relay.relay.mesh())}`,
    );
  }
});
