/** The relays of the region as this one sees them, for `/debug/fleet`. */
import type { Settings } from '../config.js';
import type { AnnouncedRelay, Directory, RelayFacts, RelayLoad } from '../control/directory/directory.js';
import type { MeshStatus } from '../control/mesh/status.js';
import type { RelayLinkStatus } from '../control/on-demand/relay-link.js';
import { reasonOf } from '../errors.js';
import type { FleetMember, FleetMeshRelay, FleetRelay, FleetReport, KeyWhereabouts } from '../http/fleet-report.js';
import { formatEndpoint } from '../protocol/endpoint.js';
import { formatNodeKey, type NodeKey } from '../protocol/key.js';
import { isMeshPeer } from '../registry/client.js';
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
    const announced = directory?.relays() ?? [];
    const [whereabouts, relays] = await Promise.all([
      key === undefined ? null : this.whereaboutsOf(key, announced),
      directory ? this.others(directory, announced) : [],
    ]);
    return {
      time: Date.now(),
      mode,
      region,
      here: this.here(announced),
      directory: directory ? directoryIn(directory) : null,
      relays,
      mesh: (mesh?.status() ?? []).map(meshRelay),
      key: whereabouts,
    };
  }

  private here(announced: readonly AnnouncedRelay[]): FleetMember {
    const { ownKey, settings, port, load } = this.parts;
    const { hostname } = settings();
    const own = announced.find(({ id }) => id === ownKey);
    return {
      relay: formatNodeKey(ownKey),
      address: own ? addressOf(own) : formatEndpoint(hostname, port()),
      tlsName: own?.tlsName ?? hostname,
      version: VERSION,
      load: own?.load ?? load(),
      since: this.since,
    };
  }

  private others(directory: Directory, announced: readonly AnnouncedRelay[]): Promise<readonly FleetRelay[]> {
    this.asked ??= this.ask(directory, announced).finally(() => {
      this.asked = undefined;
    });
    return this.asked;
  }

  private async ask(directory: Directory, announced: readonly AnnouncedRelay[]): Promise<FleetRelay[]> {
    const others = announced.filter(({ id }) => id !== this.parts.ownKey).sort(byAddress);
    const answers = await Promise.all(others.map(({ id }) => directory.ask(id).catch(reasonOf)));
    const links = new Map((this.parts.onDemand?.status().links ?? []).map((link) => [link.relay, link]));
    const settings = this.parts.settings();
    const own: OwnSettings = { all: fleetSettings(settings), digest: digestOf(settings) };
    return others.map((relay, at) => relayIn(relay, answers[at] ?? '', links.get(formatNodeKey(relay.id)), own));
  }

  private async whereaboutsOf(key: NodeKey, announced: readonly AnnouncedRelay[]): Promise<KeyWhereabouts> {
    const { registry, directory, onDemand } = this.parts;
    const clients = registry.connectionsOf(key).filter((client) => !isMeshPeer(client));
    const found = { key: formatNodeKey(key), here: clients.length > 0 };
    if (!directory || !onDemand) return { ...found, elsewhere: this.linked(key), trouble: '' };
    try {
      const place = await directory.find(key);
      if (!place) return { ...found, elsewhere: this.linked(key), trouble: '' };
      const { relay, generation } = place;
      const known = announced.find(({ id }) => id === relay);
      const address = known ? addressOf(known) : '';
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

/** The settings of this relay, and what it announces of them. */
interface OwnSettings {
  readonly all: RelayFacts['settings'];
  readonly digest: string;
}

/** `answer` is text if the relay has not answered: it says why. */
function relayIn(
  relay: AnnouncedRelay,
  answer: RelayFacts | string,
  link: RelayLinkStatus | undefined,
  own: OwnSettings,
): FleetRelay {
  const { id, tlsName, version, load, since, seen, settings } = relay;
  const common = { relay: formatNodeKey(id), address: addressOf(relay), tlsName, since, seen, link: linkIn(link) };
  if (typeof answer !== 'string') {
    const differences = differencesOf(own.all, answer.settings);
    return { ...common, version: answer.version, load: answer.load, silence: '', differences };
  }
  return { ...common, version, load, silence: answer, differences: settings === own.digest ? [] : null };
}

function linkIn(link: RelayLinkStatus | undefined): FleetRelay['link'] {
  if (!link) return null;
  const { state, since, keys, failures, trouble } = link;
  return { state, since, keys, failures, trouble };
}

function byAddress(one: AnnouncedRelay, other: AnnouncedRelay): number {
  return addressOf(one) < addressOf(other) ? -1 : 1;
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
