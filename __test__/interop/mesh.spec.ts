/**
 * Two relays of a region, each in a process of its own. derpkit does not dial other relays yet; when it does, the rows
 * that it belongs in are the other three pairs of the two implementations.
 */
import { afterAll, beforeAll, describe, it } from 'vitest';
import { makeWorkspace, PAIR_SCENARIOS, runScenario, type Workspace } from './scenarios.ts';
import { freePorts, type Implementation, Relay } from './servers.ts';

const NAMES = ['derp1.test', 'derp2.test'] as const;
const ADDRESS = '127.0.0.1';

let workspace: Workspace;

beforeAll(async () => {
  workspace = await makeWorkspace(...NAMES);
});

afterAll(() => workspace?.remove());

describe.each<[Implementation, Implementation]>([['derper', 'derper']])('%s with %s', (...implementations) => {
  let relays: readonly Relay[] = [];

  beforeAll(async () => {
    const ports = [await freePorts(ADDRESS), await freePorts(ADDRESS)] as const;
    const start = (self: 0 | 1, other: 0 | 1) =>
      Relay.start(implementations[self], workspace.peers, {
        directory: workspace.directory,
        name: `${implementations.join('-')}-${self}`,
        address: ADDRESS,
        hostname: NAMES[self],
        ports: ports[self],
        // Both names in the certificates are invented, so the second part says where to dial.
        flags: ['-mesh-with', `${NAMES[other]}:${ports[other].main}/${ADDRESS}`],
        env: { SSL_CERT_FILE: workspace.authority },
      });
    const second = await start(1, 0); // finds nobody at first, and tries again after five seconds
    relays = [second];
    relays = [await start(0, 1), second];
  });

  afterAll(async () => {
    await Promise.all(relays.map((relay) => relay.stop()));
  });

  it.each(PAIR_SCENARIOS)('%s', async (scenario) => {
    const [here, there] = relays as [Relay, Relay];
    const flags = {
      tls: `https://${here.at(here.port)}`,
      'server-name': NAMES[0],
      'peer-tls': `https://${there.at(there.port)}`,
      'peer-server-name': NAMES[1],
    };
    await runScenario(workspace, scenario, flags, { [NAMES[0]]: here, [NAMES[1]]: there });
  });
});
