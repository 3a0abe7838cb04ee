/** Runs Tailscale's own client against derpkit, and against Tailscale's own relay to know that the client asks for no more. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  lastLines,
  makeWorkspace,
  NEEDS_TLS_13,
  NODE_CANNOT,
  NOT_YET,
  RING_SCENARIOS,
  run,
  runScenario,
  SCENARIOS,
  SERVER_NAME,
  type Workspace,
} from './scenarios.ts';
import { hasIPv6, type Implementation, Relay } from './servers.ts';

/** derpprobe resolves the name that it is given, so its relay is called what every machine can resolve. */
const PROBED_NAME = 'localhost';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME, PROBED_NAME);
});

afterAll(() => workspace?.remove());

describe('the interop program', () => {
  it('the program and this suite have equal scenarios', async () => {
    const { stdout } = await run(workspace.peers.interop, ['-list']);
    expect(stdout.trim().split('\n')).toEqual([...SCENARIOS, ...RING_SCENARIOS]);
  });

  it('the program makes the protocol vectors of the repository', async () => {
    const { stdout } = await run(workspace.peers.interop, ['-vectors'], { maxBuffer: 1 << 24 });
    expect(stdout).toBe(readFileSync(new URL('../vectors/protocol.json', import.meta.url), 'utf8'));
  });
});

interface Ran {
  readonly name: string;
  readonly implementation: Implementation;
  readonly plane?: 'js' | 'native';
  /** The highest version that clients offer; Go's own choice without it. */
  readonly maxTls?: '1.2';
}

describe.each<Ran>([
  { name: 'derpkit, js', implementation: 'derpkit', plane: 'js' },
  { name: 'derpkit, native', implementation: 'derpkit', plane: 'native' },
  { name: 'derpkit, native, TLS 1.2', implementation: 'derpkit', plane: 'native', maxTls: '1.2' },
  { name: 'derper', implementation: 'derper' },
])('$name', ({ implementation, plane, maxTls }) => {
  let secure: Relay;
  let plain: Relay;

  const start = (face: string, address: string, hostname?: string) =>
    Relay.start(implementation, workspace.peers, {
      directory: workspace.directory,
      name: `${implementation}-${plane ?? ''}${maxTls ?? ''}${face}`,
      address,
      ...(plane && { env: { DERPKIT_PLANE: plane } }),
      ...(hostname !== undefined && { hostname, httpPort: true }),
    });

  beforeAll(async () => {
    const address = (await hasIPv6()) ? '::1' : '127.0.0.1';
    if (address !== '::1') console.warn('this machine has no IPv6; what should run over it runs over IPv4');
    secure = await start('tls', '127.0.0.1', SERVER_NAME);
    plain = await start('plain', address);
  });

  afterAll(async () => {
    await Promise.all([secure?.stop(), plain?.stop()]);
  });

  it.runIf(plane)('the relay has the requested plane', async () => {
    // Its port may be there before its word.
    for (const relay of [secure, plain]) await expect.poll(() => relay.output).toContain(`plane=${plane}`);
  });

  const isThere = (scenario: string) =>
    implementation === 'derper' || !(NOT_YET.has(scenario) || (plane === 'js' && NODE_CANNOT.has(scenario)));
  const isMeant = (scenario: string) => maxTls === undefined || !NEEDS_TLS_13.has(scenario);
  it.each(SCENARIOS.filter(isMeant).filter(isThere))('the relay passes the scenario %s', (scenario) => play(scenario));
  it.fails.each(SCENARIOS.filter((scenario) => isMeant(scenario) && !isThere(scenario)))(
    'the relay does not pass the scenario %s yet',
    (scenario) => play(scenario),
  );

  const play = async (scenario: string) => {
    const flags = {
      tls: `https://${secure.at(secure.port)}`,
      'server-name': SERVER_NAME,
      plain: `http://${plain.at(plain.port)}`,
      port80: `http://${secure.at(secure.httpPort)}`,
      ...(maxTls && { 'max-tls': maxTls }),
      stun: `${secure.at(secure.stunPort)},${plain.at(plain.stunPort)}`,
    };
    await runScenario(workspace, scenario, flags, { 'TLS relay': secure, 'plain relay': plain });
  };

  it('derpprobe accepts the relay', async () => {
    const relay = await start('probed', '127.0.0.1', PROBED_NAME);
    try {
      expect(await probe(relay)).toEqual([
        'derp/test/1a/1a/bw',
        'derp/test/1a/1a/mesh',
        'derp/test/1a/tls',
        'derp/test/1a/udp',
        'derpmap-probe',
      ]);
    } finally {
      await relay.stop();
    }
  });

  it('SIGTERM ends the relay with status 0', async () => {
    expect(await Promise.all([secure.stop(), plain.stop()])).toEqual([0, 0]);
  });
});

/** Runs of the monitor: each of its probes has a deadline of its own, which a busy machine can miss. */
const PROBES = 3;

/** Runs Tailscale's monitor, and returns which of its probes found the relay good. Fails if one did not in any run. */
async function probe(relay: Relay, runs = PROBES): Promise<string[]> {
  const map = join(workspace.directory, 'derpmap.json');
  const node = { Name: '1a', RegionID: 1, HostName: PROBED_NAME, IPv4: relay.address };
  const ports = { DERPPort: relay.port, STUNPort: relay.stunPort };
  const region = { RegionID: 1, RegionCode: 'test', RegionName: 'Test', Nodes: [{ ...node, ...ports }] };
  writeFileSync(map, JSON.stringify({ Regions: { 1: region } }));
  const bandwidth = ['-bw-interval', '20s', '-bw-probe-size-bytes', '4000000'];
  const args = ['-once', '-spread=false', '-derp-map', `file://${map}`, ...bandwidth];
  try {
    const env = { ...process.env, SSL_CERT_FILE: workspace.authority };
    const { stderr } = await run(workspace.peers.derpprobe, args, { env });
    return [...stderr.matchAll(/ good: ([^:]+): /g)].map((match) => match[1] ?? '').sort();
  } catch (error) {
    if (runs > 1) return probe(relay, runs - 1);
    throw new Error(`${(error as { stderr: string }).stderr}\nrelay:\n${lastLines(relay.output)}`);
  }
}
