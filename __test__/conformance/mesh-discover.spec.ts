/** Relays that find each other: the set of relays changes, and what stays in it is not disturbed. */
import { renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { DnsServer } from '../../packaging/dns-server.mjs';
import type { RelayConfig } from '../../src/config.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { temporary } from '../cli/commands.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { hosts, meshNode, named, trustOwnCertificate } from '../helpers/mesh.js';
import { newRelay, type TestRelay } from '../helpers/relay.js';
import { silentAddresses } from '../helpers/silent.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const NAME = 'relays.test';
/** Below the range that systems take outgoing ports from. */
const PORT = 21_443;

/** A relay at its own address, whose relays are found as `discover` says. */
function node(
  lane: Lane,
  host: string,
  discover: NonNullable<RelayConfig['mesh']>['discover'],
  config: RelayConfig = {},
) {
  const listen = `${host}:${PORT}`;
  return newRelay(lane, {
    tls: true,
    meshTimes: { retry: 300, jitter: 100, longest: 1_000, linger: 500, recheck: 500 },
    config: { listen, mesh: { discover, drainDelay: 0 }, ...config },
  });
}

async function dnsServer(): Promise<DnsServer> {
  const server = await DnsServer.start();
  onTestFinished(() => server.close());
  return server;
}

function byName({ address: server }: DnsServer) {
  return [{ dns: { name: NAME, port: PORT, tlsName: 'localhost', server } }];
}

/** Waits until the relay's links are in these states, as `address state`. */
async function untilStates(relay: TestRelay, ...wanted: string[]): Promise<void> {
  const states = () => relay.relay.mesh().map((link) => `${link.relay.replace(`:${PORT}`, '')} ${link.state}`);
  await eventually(
    () => states().sort().join() === [...wanted].sort().join(),
    () => `${wanted.join()}: ${JSON.stringify(relay.relay.mesh())}`,
  );
}

/** A packet from a client of one relay to a client of another, once the way is known. */
async function passes(from: DerpClient, to: DerpClient, text: string): Promise<void> {
  from.sendPacket(to.key, text);
  expect(await to.expectPacket(text)).toBe(from.key);
}

async function untilKeys(relay: TestRelay, keys: number): Promise<void> {
  await eventually(
    () => relay.relay.figures().totalKeys === keys,
    () => `${keys} keys: ${JSON.stringify(relay.relay.figures())}`,
  );
}

describe.each(LANES)('relays that find each other, $name', (lane) => {
  it('relays with one name find each other and themselves, meet a relay that comes, and drop one that goes', async () => {
    trustOwnCertificate();
    const dns = await dnsServer();
    const [here, there, late] = hosts(3) as [string, string, string];
    dns.set(NAME, [here, there]);
    const a = node(lane, here, byName(dns));
    const b = node(lane, there, byName(dns));
    await Promise.all([a.relay.start(), b.relay.start()]);
    await untilStates(a, `${here} self`, `${there} connected`);
    await untilStates(b, `${here} connected`, `${there} self`);
    const since = () => a.relay.mesh().find(({ relay }) => relay === `${there}:${PORT}`)?.since;
    const before = since();
    const c = node(lane, late, byName(dns));
    dns.set(NAME, [here, there, late]);
    await c.relay.start();
    await untilStates(a, `${here} self`, `${there} connected`, `${late} connected`);
    const clients = await Promise.all([a, b, c].map((relay) => DerpClient.connect(relay)));
    const [alice, bob, carol] = clients as [DerpClient, DerpClient, DerpClient];
    // Three clients, and each relay as a mesh peer of both others.
    await Promise.all([a, b, c].map((relay) => untilKeys(relay, 6)));
    await Promise.all([a, b, c].map((relay) => relay.commandsDone()));
    for (const [from, to] of [
      [alice, bob],
      [bob, carol],
      [carol, alice],
    ] as const) {
      await passes(from, to, 'all pairs');
    }
    dns.set(NAME, [here, there]);
    await untilStates(a, `${here} self`, `${there} connected`);
    // The third relay is a mesh peer here for as long as it finds this one; its client is reached no more.
    await untilKeys(a, 5);
    await passes(alice, bob, 'not disturbed');
    expect(since()).toBe(before);
  });

  it('links stay while their source fails, and end when the name has no addresses', async () => {
    trustOwnCertificate();
    const dns = await dnsServer();
    const [here, there] = hosts(2) as [string, string];
    dns.set(NAME, [here, there]);
    const [a, b] = [node(lane, here, byName(dns)), node(lane, there, byName(dns))];
    await Promise.all([a.relay.start(), b.relay.start()]);
    await untilStates(a, `${here} self`, `${there} connected`);
    dns.fail(NAME);
    await eventually(() => a.relay.meshSources()[0]?.state === 'failing', 'the failure');
    expect(a.relay.meshSources()).toMatchObject([
      { source: `dns ${NAME}`, relays: 2, trouble: 'relays.test: the DNS server has failed' },
    ]);
    await untilStates(a, `${here} self`, `${there} connected`);
    const page = await ask(a.target({}), '/debug/');
    expect(page.body).toMatch(
      /Mesh source dns relays\.test:<\/b> failed (?:once|\d+ times) in \d+ s: relays\.test: the DNS server/,
    );
    const varz = await ask(a.target({}), '/debug/varz');
    expect(varz.body).toContain(`derpkit_mesh_source_up{source="dns ${NAME}"} 0`);
    expect(varz.body).toContain('derpkit_mesh_links{state="connected"} 1');
    dns.delete(NAME);
    await untilStates(a);
    expect(a.relay.meshSources()).toMatchObject([{ state: 'good', relays: 0, trouble: '' }]);
  });

  it('a relay follows a file of relays, too, beside the relays of its settings', async () => {
    trustOwnCertificate();
    const file = join(temporary(), 'relays');
    const [here, there, listed] = hosts(3) as [string, string, string];
    const write = (text: string) => {
      writeFileSync(`${file}.new`, text);
      renameSync(`${file}.new`, file);
    };
    write('');
    const a = node(lane, here, [{ file }], { meshWith: `localhost:${PORT}/${listed}` });
    const [b, c] = [there, listed].map((host) => newRelay(lane, { tls: true, config: { listen: `${host}:${PORT}` } }));
    await Promise.all([a, b, c].map((relay) => relay?.relay.start()));
    await untilStates(a, 'localhost connected');
    write(`localhost:${PORT}/${there}\n`);
    await untilStates(a, 'localhost connected', `localhost/${there} connected`);
    write('# nobody\n');
    await untilStates(a, 'localhost connected');
  });

  it('two relays with one key report each other as twins, and still mesh with a third', async () => {
    trustOwnCertificate();
    const dns = await dnsServer();
    const [here, there, third] = hosts(3) as [string, string, string];
    dns.set(NAME, [here, there, third]);
    const keys = generateKeyPair();
    const twins = [here, there].map((host) =>
      newRelay(lane, {
        keys,
        tls: true,
        meshTimes: { retry: 300, jitter: 100, recheck: 500 },
        config: { listen: `${host}:${PORT}`, mesh: { discover: byName(dns) } },
      }),
    ) as [TestRelay, TestRelay];
    const c = node(lane, third, byName(dns));
    await Promise.all([...twins, c].map((relay) => relay.relay.start()));
    await untilStates(twins[0], `${here} self`, `${there} twin`, `${third} connected`);
    await untilStates(twins[1], `${here} twin`, `${there} self`, `${third} connected`);
    const page = await ask(twins[0].target({}), '/debug/');
    expect(page.body).toMatch(/another relay with the key of this one, for \d+ s: give each relay a key of its own/);
  });

  it('a name with many addresses that do not answer does not delay a good one', async () => {
    trustOwnCertificate();
    const dns = await dnsServer();
    const [here, there] = hosts(2) as [string, string];
    // The asynchronous lane takes 25 ms for each crossing, one after the other.
    const count = lane.name === 'js-async' ? 10 : 100;
    const silent = await silentAddresses(`127.${process.pid % 200}.250.`, count, PORT);
    onTestFinished(() => silent.close());
    // Of each pair, nothing listens at the first, and nothing answers at the second.
    const bad = silent.hosts.flatMap((host, index) => [`127.201.0.${index + 1}`, host]);
    dns.set(NAME, [...bad, here, there]);
    const [a, b] = [here, there].map((host) =>
      newRelay(lane, { tls: true, config: { listen: `${host}:${PORT}`, mesh: { discover: byName(dns) } } }),
    ) as [TestRelay, TestRelay];
    await Promise.all([a.relay.start(), b.relay.start()]);
    const stateOf = (host: string) => a.relay.mesh().find(({ relay }) => relay === `${host}:${PORT}`)?.state;
    await eventually(() => stateOf(there) === 'connected' && stateOf(here) === 'self', 'the good one');
    expect(a.relay.mesh()).toHaveLength(2 * count + 2);
  });

  it('a relay that dials with the mesh key is looked for at once', async () => {
    trustOwnCertificate();
    const dns = await dnsServer();
    const [here, there] = hosts(2) as [string, string];
    dns.set(NAME, [here], 60);
    const a = node(lane, here, byName(dns));
    await a.relay.start();
    await untilStates(a, `${here} self`);
    dns.set(NAME, [here, there], 60);
    // The second relay names the first, which has not found the second.
    const b = meshNode(lane, {
      port: PORT,
      meshWith: [named(PORT)],
      config: { listen: `${there}:${PORT}`, meshWith: `localhost:${PORT}/${here}` },
    });
    await b.relay.start();
    await untilStates(a, `${here} self`, `${there} connected`);
  });
});
