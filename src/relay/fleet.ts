/** The relays of the region as this one sees them, for `/debug/fleet`. */
import type { Settings } from '../config.js';
import type { AnnouncedRelay, Directory, RelayFacts, RelayLoad } from '../control/directory/directory.js';
import type { MeshStatus } from '../control/mesh/status.js';
import type { RelayLinkStatus } from '../control/on-demand/relay-link.js';
import { reasonOf } from '../errors.js';
import type { FleetMember, FleetMeshRelay, FleetRelay, FleetReport, KeyWhereabouts } from '../http/fleet-report.js';
import { formatEndpoint } from '../protocol/endpoint.js';
import { formatNodeKey, type NodeKey } from '../protocol/key.js';
import { PresenceFlag } from '../protocol/wire.js';
import type { Registry } from '../registry/registry.js';
import { VERSION } from '../version.js';
import { differencesOf, digestOf, fleetSettings } from './fleet-settings.js';

export interface FleetParts {
  readonly ownKey: NodeKey;
  /** The settings in force. */
  settings(): Settings;
  /** The port of the relay's listener. */
  port(): number;
  load(): RelayLoad;
  readonly registry: Registry;
  /** The full mesh; `undefined` without a mesh key. */
  readonly mesh: { status(): MeshStatus[]; relayAt(link: number): NodeKey | undefined } | undefined;
  /** The directory, of a source of relays or of keys on demand. */
  readonly directory: Directory | undefined;
  /** `undefined` in the mode `full`, in which relays announce no keys in a directory. */
  readonly onDemand: { status(): { readonly links: readonly RelayLinkStatus[] } } | undefined;
}

export class Fleet {
  private readonly since = Date.now();
  /** The other relays while they are asked: requests at one time ask once. */
  private asked: Promise<readonly FleetRelay[]> | undefined;

  constructor(private readonly parts: FleetParts) {}

  /** Asks the other relays, and takes as long as the slowest of them may. `key` is one to look for. */
  async report(key: NodeKey | undefined): Promise<FleetReport> {
    const { directory, mesh, settings } = this.parts;
    const { mode, region } = settings().mesh;
    const [whereabouts, relays] = await Promise.all([
      key === undefined ? null : this.whereaboutsOf(key),
      directory ? this.others(directory) : [],
    ]);
    return {
      time: Date.now(),
      mode,
      region,
      here: this.here(),
      directory: directory ? directoryIn(directory) : null,
      relays,
      mesh: (mesh?.status() ?? []).map(meshRelay),
      key: whereabouts,
    };
  }

  private here(): FleetMember {
    const { ownKey, directory, settings, port, load } = this.parts;
    const { hostname } = settings();
    const announced = directory?.relays().find(({ id }) => id === ownKey);
    return {
      relay: formatNodeKey(ownKey),
      address: announced ? addressOf(announced) : formatEndpoint(hostname, port()),
      tlsName: announced?.tlsName ?? hostname,
      version: VERSION,
      load: load(),
      since: this.since,
    };
  }

  private others(directory: Directory): Promise<readonly FleetRelay[]> {
    const others = directory.relays().filter(({ id }) => id !== this.parts.ownKey);
    this.asked ??= Promise.all(others.map((relay) => this.ask(directory, relay))).finally(() => {
      this.asked = undefined;
    });
    return this.asked;
  }

  private async ask(directory: Directory, relay: AnnouncedRelay): Promise<FleetRelay> {
    const answer = await directory.ask(relay.id).catch(reasonOf);
    const facts = typeof answer === 'string' ? undefined : answer;
    const key = formatNodeKey(relay.id);
    return {
      relay: key,
      address: addressOf(relay),
      tlsName: relay.tlsName,
      version: facts?.version ?? relay.version,
      load: facts?.load ?? relay.load,
      since: relay.since,
      seen: relay.seen,
      silence: typeof answer === 'string' ? answer : '',
      link: this.linkTo(key),
      differences: this.differences(relay, facts),
    };
  }

  /** `null`: the relay has other settings, and does not say which. */
  private differences({ settings: digest }: AnnouncedRelay, facts: RelayFacts | undefined) {
    const settings = this.parts.settings();
    if (facts) return differencesOf(fleetSettings(settings), facts.settings);
    return digest === digestOf(settings) ? [] : null;
  }

  private linkTo(key: string): FleetRelay['link'] {
    const link = this.parts.onDemand?.status().links.find(({ relay }) => relay === key);
    if (!link) return null;
    const { state, since, keys, failures, trouble } = link;
    return { state, since, keys, failures, trouble };
  }

  private async whereaboutsOf(key: NodeKey): Promise<KeyWhereabouts> {
    const { registry, directory, onDemand } = this.parts;
    const clients = registry.connectionsOf(key).filter(({ flags }) => (flags & PresenceFlag.MeshPeer) === 0);
    const found = { key: formatNodeKey(key), here: clients.length > 0 };
    if (!directory || !onDemand) return { ...found, elsewhere: this.linked(key), trouble: '' };
    try {
      const place = await directory.find(key);
      if (!place) return { ...found, elsewhere: this.linked(key), trouble: '' };
      const announced = directory.relays().find(({ id }) => id === place.relay);
      const { relay, generation } = place;
      const address = announced ? addressOf(announced) : '';
      return { ...found, elsewhere: { relay: formatNodeKey(relay), address, generation }, trouble: '' };
    } catch (error) {
      return { ...found, elsewhere: this.linked(key), trouble: reasonOf(error) };
    }
  }

  /** The relay of the full mesh that announces the key. What links on demand lead to is for the directory to say. */
  private linked(key: NodeKey): KeyWhereabouts['elsewhere'] {
    const { registry, mesh } = this.parts;
    const link = registry.linkTo(key);
    const id = link === undefined ? undefined : mesh?.relayAt(link);
    const relay = id === undefined ? undefined : formatNodeKey(id);
    const member = mesh?.status().find(({ publicKey }) => publicKey === relay);
    return relay !== undefined && member ? { relay, address: member.relay, generation: null } : null;
  }
}

function directoryIn(directory: Directory): FleetReport['directory'] {
  const { state, since, failures, trouble, server, version, roundTrip = null, keys } = directory.status();
  return { state, since, failures, trouble, server, version, roundTrip, keys };
}

function meshRelay({ relay: name, publicKey = '', from, state, since, failures, peers, trouble }: MeshStatus) {
  const known: FleetMeshRelay = { name, relay: publicKey || null, from, state, since, failures, peers, trouble };
  return known;
}

function addressOf({ address, port }: AnnouncedRelay): string {
  return formatEndpoint(address, port);
}
