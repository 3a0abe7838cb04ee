/** What a relay reports about the relays of its region. */
import { describe, expect, it } from 'vitest';
import { parseSettings, type RelayConfig } from '../../../src/config.js';
import type { MeshStatus } from '../../../src/control/mesh/status.js';
import type { RelayLinkStatus } from '../../../src/control/on-demand/relay-link.js';
import { formatNodeKey } from '../../../src/protocol/key.js';
import { Registry } from '../../../src/registry/registry.js';
import { Fleet, type FleetParts } from '../../../src/relay/fleet.js';
import { digestOf, fleetSettings } from '../../../src/relay/fleet-settings.js';
import { VERSION } from '../../../src/version.js';
import { Region, type Relay } from '../control/on-demand/region.js';
import { keyOf } from '../plane/context.js';

const LOAD = { clients: 3, links: 2, packets: 100 };
const OF_THE_REGION = {
  meshKey: 'ab'.repeat(32),
  nats: { servers: '127.0.0.1' },
  mesh: { mode: 'on-demand' },
} as const;
const MESH: MeshStatus = {
  ...{ relay: 'b.test', from: 'meshWith', state: 'connected', since: 1, failures: 0, peers: 1, passedOver: 0 },
  ...{ publicKey: formatNodeKey(keyOf(2)), trouble: '' },
};

function fleetOf(more: Partial<FleetParts>, config: RelayConfig = OF_THE_REGION): Fleet {
  const settings = parseSettings(config);
  const registry = new Registry(keyOf(1));
  const common = { ownKey: keyOf(1), settings: () => settings, port: () => 8443, load: () => LOAD, registry };
  return new Fleet({ ...common, mesh: undefined, directory: undefined, onDemand: undefined, ...more });
}

/** Three relays of a region with equal settings, and the report of the first. `looks` is how often its links were looked at. */
function region(links: readonly RelayLinkStatus[] = []) {
  const region = new Region();
  const [one, two, three] = [region.relay(1), region.relay(2), region.relay(3)] as [Relay, Relay, Relay];
  const settings = fleetSettings(parseSettings(OF_THE_REGION));
  for (const relay of [one, two, three]) {
    relay.settings = settings;
    relay.digest = digestOf(parseSettings(OF_THE_REGION));
  }
  let looks = 0;
  const status = () => {
    looks += 1;
    return { links };
  };
  const fleet = fleetOf({ directory: one, onDemand: { status } });
  const report = async (key?: number) => {
    const found = fleet.report(key === undefined ? undefined : keyOf(key));
    await region.settle();
    return found;
  };
  return { region, one, two, three, settings, fleet, report, looks: () => looks };
}

describe('the report about a region', () => {
  it('the report has this relay, the others with what they say, and their links', async () => {
    const link: RelayLinkStatus = {
      ...{ relay: formatNodeKey(keyOf(2)), address: '10.0.0.2:443', since: 5, keys: 1, failures: 2 },
      ...{ state: 'waiting', trouble: 'connection refused' },
    };
    const { report, one, two } = region([link]);
    one.own.set(keyOf(99), 1);
    two.own.set(keyOf(100), 1);
    const { here, directory, relays, mode, key } = await report();
    expect({ mode, key, directory }).toMatchObject({ mode: 'on-demand', key: null, directory: { state: 'up' } });
    expect(here).toMatchObject({
      relay: formatNodeKey(keyOf(1)),
      address: '10.0.0.1:443',
      version: VERSION,
      load: { clients: 1 },
    });
    expect(relays).toMatchObject([
      {
        ...{
          relay: formatNodeKey(keyOf(2)),
          address: '10.0.0.2:443',
          load: { clients: 1 },
          silence: '',
          differences: [],
        },
        link: { state: 'waiting', since: 5, keys: 1, failures: 2, trouble: 'connection refused' },
      },
      { relay: formatNodeKey(keyOf(3)), link: null, silence: '', differences: [] },
    ]);
  });

  it('settings that differ have both values, and one that a relay of another version lacks has one', async () => {
    const { report, two, settings } = region();
    const { stun: _stun, ...others } = settings;
    two.version = '9.9.9';
    two.settings = { ...others, logLevel: 'debug', novelty: 7 };
    const { relays } = await report();
    expect(relays[0]).toMatchObject({ version: '9.9.9' });
    expect(relays[0]?.differences).toEqual([
      { name: 'stun', here: true },
      { name: 'logLevel', here: 'info', there: 'debug' },
      { name: 'novelty', there: 7 },
    ]);
    expect(relays[1]?.differences).toEqual([]);
  });

  it('of a relay that does not answer, its announcement tells whether its settings differ', async () => {
    const { report, two, three } = region();
    two.digest = 'another one';
    two.isPaused = true;
    three.isPaused = true;
    const { relays } = await report();
    expect(relays).toMatchObject([
      { silence: 'the relay does not answer in time', differences: null },
      { silence: 'the relay does not answer in time', differences: [] },
    ]);
  });

  it('while the directory is down, the report has what was announced, and says why there is no more', async () => {
    const { region: all, report } = region();
    all.up(false);
    const { relays, directory, key } = await report(100);
    expect(directory).toMatchObject({ state: 'waiting' });
    expect(relays.map(({ silence }) => silence)).toEqual(Array(2).fill('the directory is not connected'));
    expect(key).toMatchObject({ here: false, elsewhere: null, trouble: 'the directory is not connected' });
  });

  it('requests at one time ask the other relays once, and look at the links once', async () => {
    const { region: all, fleet, one, looks } = region();
    let asked = 0;
    const ask = one.ask.bind(one);
    one.ask = (relay) => {
      asked += 1;
      return ask(relay);
    };
    const reports = Promise.all([fleet.report(undefined), fleet.report(undefined), fleet.report(keyOf(100))]);
    await all.settle();
    expect((await reports).map(({ relays }) => relays.length)).toEqual([2, 2, 2]);
    expect({ asked, looks: looks() }).toEqual({ asked: 2, looks: 1 });
    const later = fleet.report(undefined);
    await all.settle();
    await later;
    expect(asked).toBe(4);
  });
});

describe('where a key is', () => {
  it('a key is at another relay, with address and generation, or at none', async () => {
    const { report, two } = region();
    two.own.set(keyOf(100), 1234);
    const elsewhere = { relay: formatNodeKey(two.key), address: '10.0.0.2:443', generation: 1234 };
    const key = formatNodeKey(keyOf(100));
    expect((await report(100)).key).toEqual({ key, here: false, elsewhere, trouble: '' });
    expect((await report(101)).key).toMatchObject({ here: false, elsewhere: null, trouble: '' });
  });

  it('a key of a client here is here, and a key of a mesh peer is not', async () => {
    const { region: all, one } = region();
    const registry = new Registry(one.key);
    const peer = { address: '192.0.2.1', port: 1, appName: '', version: 2, tlsVersion: null };
    const client = { ...peer, prober: false, notIdeal: false };
    registry.connected({ ...client, id: 1, key: keyOf(100), mesh: false }, 0);
    registry.connected({ ...client, id: 2, key: keyOf(101), mesh: true }, 0);
    const fleet = fleetOf({ registry, directory: one, onDemand: { status: () => ({ links: [] }) } });
    for (const [number, here] of [
      [100, true],
      [101, false],
    ] as const) {
      const found = fleet.report(keyOf(number));
      await all.settle();
      expect((await found).key).toMatchObject({ here, elsewhere: null });
    }
  });
});

describe('the report about a full mesh', () => {
  const registry = new Registry(keyOf(1));
  registry.linkPresent(7, keyOf(100));
  registry.linkPresent(8, keyOf(101));
  const mesh = { status: () => [MESH], relayAt: (link: number) => (link === 7 ? keyOf(2) : keyOf(3)) };

  it('the report of a full mesh has no directory, and the relays of the mesh', async () => {
    const fleet = fleetOf({ mesh, registry }, { hostname: 'derp.test' });
    const report = await fleet.report(undefined);
    expect(report).toMatchObject({ mode: 'full', directory: null, relays: [], here: { address: 'derp.test:8443' } });
    const { relay: name, publicKey: relay, from, state, since, failures, peers, trouble } = MESH;
    expect(report.mesh).toEqual([{ name, relay, from, state, since, failures, peers, trouble }]);
  });

  it('a key is at the relay whose link announces it', async () => {
    const fleet = fleetOf({ mesh, registry }, {});
    expect((await fleet.report(keyOf(100))).key).toMatchObject({
      elsewhere: { relay: MESH.publicKey, address: 'b.test', generation: null },
    });
    expect((await fleet.report(keyOf(102))).key).toMatchObject({ here: false, elsewhere: null, trouble: '' });
  });

  it('a full mesh with a directory has the relays of both, and looks for keys in the mesh alone', async () => {
    const { region: all, one } = region();
    const found = fleetOf({ mesh, registry, directory: one }, {}).report(keyOf(100));
    await all.settle();
    expect(await found).toMatchObject({
      ...{ mode: 'full', directory: { state: 'up' }, mesh: [{ name: 'b.test' }] },
      relays: [{ silence: '' }, { silence: '' }],
      key: { elsewhere: { address: 'b.test', generation: null } },
    });
    expect(one.finds).toBe(0);
  });

  it('a link on demand says nothing about a key that the directory knows to be nowhere', async () => {
    const { region: all, one } = region();
    const fleet = fleetOf({ mesh, registry, directory: one, onDemand: { status: () => ({ links: [] }) } });
    const found = fleet.report(keyOf(101));
    await all.settle();
    expect((await found).key).toMatchObject({ elsewhere: null });
  });
});
