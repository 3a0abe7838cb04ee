/**
 * Every connected key, here and in the mesh: the source of truth for the plane's tables. Pure: no socket, no clock.
 * Events come in as method calls; the work that follows from them goes out as {@link Command}s.
 */
import { peerGoneFrame, peerPresentFrame } from '../protocol/frame.js';
import type { NodeKey } from '../protocol/key.js';
import { PeerGoneReason } from '../protocol/wire.js';
import { type Arrival, type Client, clientOf, isMeshPeer, isNotIdeal, presenceOf } from './client.js';
import type { RelayFigures } from './figures.js';
import { MeshMap } from './mesh-map.js';
import { Watchers } from './watchers.js';

/** What the data plane has to do, in order. */
export type Command =
  /** `pull`: a dump has further parts; the plane asks for the next one with {@link Registry.pulled}. */
  | { readonly kind: 'send'; readonly ids: readonly number[]; readonly frames: Buffer; readonly pull: boolean }
  | { readonly kind: 'gone'; readonly key: NodeKey; readonly reason: PeerGoneReason }
  | { readonly kind: 'route'; readonly key: NodeKey; readonly via: number | null }
  | { readonly kind: 'close'; readonly id: number };

/** A change of home counts as a move if the connection is older than this, in milliseconds. */
const HOME_MOVE_GRACE = 5000;

/** The connections of a key that has more than one. */
interface Clones {
  readonly clients: Client[];
  /** The connection that the plane reports as active. Watchers are told about this one. */
  active: Client;
  sequence: number;
}

export class Registry {
  private readonly byId = new Map<number, Client>();
  private readonly byKey = new Map<NodeKey, Client | Clones>();
  private readonly watchers = new Watchers();
  private readonly mesh = new MeshMap<number>();
  /** The connections of each key of a mesh peer. */
  private readonly meshPeers = new Map<NodeKey, number>();
  private readonly counts = {
    connectionsEver: 0,
    home: 0,
    notIdeal: 0,
    meshPeers: 0,
    dupKeys: 0,
    dupConnections: 0,
    dupConnectionsEver: 0,
    homeMovesIn: 0,
    homeMovesOut: 0,
  };

  /** `serverKey` is the relay's own key. A watcher with this key is the relay itself, and gets nothing. */
  constructor(private readonly serverKey: NodeKey) {}

  /** Connections that were let in, those of mesh peers included. */
  get size(): number {
    return this.byId.size;
  }

  /** Connections of clients that were let in; mesh peers are no clients. */
  get clientCount(): number {
    return this.byId.size - this.counts.meshPeers;
  }

  get(id: number): Client | undefined {
    return this.byId.get(id);
  }

  /** Enters a connection at its admission. */
  connected(arrival: Arrival, now: number): Command[] {
    const client = clientOf(arrival, now);
    this.byId.set(client.id, client);
    this.counts.connectionsEver += 1;
    if (isNotIdeal(client)) this.counts.notIdeal += 1;
    if (isMeshPeer(client)) this.countMeshPeer(client.key, 1);
    const known = this.byKey.get(client.key);
    if (known === undefined) {
      this.byKey.set(client.key, client);
    } else if (isClones(known)) {
      known.clients.push(client);
      known.active = client;
      this.counts.dupConnections += 1;
      this.counts.dupConnectionsEver += 1;
    } else {
      this.byKey.set(client.key, { clients: [known, client], active: client, sequence: 0 });
      this.counts.dupKeys += 1;
      this.counts.dupConnections += 2;
      this.counts.dupConnectionsEver += 1;
    }
    return this.broadcast(() => peerPresentFrame(presenceOf(client)));
  }

  /** Removes an admitted connection that has ended. */
  disconnected(id: number): Command[] {
    const client = this.byId.get(id);
    if (!client) return [];
    this.byId.delete(id);
    this.watchers.remove(id);
    if (client.home) this.counts.home -= 1;
    if (isNotIdeal(client)) this.counts.notIdeal -= 1;
    if (isMeshPeer(client)) this.countMeshPeer(client.key, -1);
    const known = this.byKey.get(client.key) as Client | Clones;
    if (isClones(known)) {
      this.removeClone(known, client);
      return [];
    }
    this.byKey.delete(client.key);
    return [
      // A key that another relay of the mesh has is still in the region.
      ...(this.mesh.has(client.key) ? [] : [gone(client.key)]),
      ...this.broadcast(() => peerGoneFrame(client.key, PeerGoneReason.Disconnected)),
    ];
  }

  /**
   * Notes which connection of a key the plane reports as active. Of two reports, the one with the higher `sequence` is
   * the newer.
   */
  active(key: NodeKey, id: number, sequence: number): void {
    const known = this.byKey.get(key);
    if (known === undefined || !isClones(known) || sequence <= known.sequence) return;
    known.sequence = sequence;
    known.active = known.clients.find((client) => client.id === id) ?? known.active;
  }

  /** A mesh peer subscribes. It gets a dump of all connected clients, itself included. */
  watch(id: number): Command[] {
    const client = this.byId.get(id);
    if (!client || client.key === this.serverKey) return [];
    this.watchers.add(id, this.everyone());
    return this.pulled(id);
  }

  /** A watcher has room for the next part of its dump. */
  pulled(id: number): Command[] {
    const frames = this.watchers.nextPart(id);
    return frames ? [{ kind: 'send', ids: [id], frames, pull: true }] : [];
  }

  /** A mesh peer asks for the end of all connections of a key. */
  closePeer(key: NodeKey): Command[] {
    return this.connectionsOf(key).map(({ id }) => ({ kind: 'close', id }));
  }

  /** A client has changed its home `changes` times, in turn to this relay and to another one, the last time to `home`. */
  prefer(id: number, home: boolean, changes: number, now: number): void {
    const client = this.byId.get(id);
    if (!client) return;
    if (client.home !== home) this.counts.home += home ? 1 : -1;
    client.home = home;
    if (now - client.since <= HOME_MOVE_GRACE) return;
    const [last, others] = [Math.ceil(changes / 2), Math.floor(changes / 2)];
    this.counts.homeMovesIn += home ? last : others;
    this.counts.homeMovesOut += home ? others : last;
  }

  /** A mesh link announces a key. */
  linkPresent(link: number, key: NodeKey): Command[] {
    return this.rerouted(key, () => this.mesh.add(key, link));
  }

  /** A mesh link withdraws a key. */
  linkGone(link: number, key: NodeKey): Command[] {
    return this.rerouted(key, () => this.mesh.remove(key, link));
  }

  /** A link leads to a key, in place of the link `before`, if any. There is a route afterwards, even if it was there before. */
  linkLeads(link: number, key: NodeKey, before: number | undefined): Command[] {
    this.mesh.add(key, link);
    if (before !== undefined && before !== link) this.mesh.remove(key, before);
    return [{ kind: 'route', key, via: this.mesh.preferred(key) as number }];
  }

  /** A link no longer leads to a key, which may be at another relay: no client is told that it has left. */
  linkLeaves(link: number, key: NodeKey): Command[] {
    return this.rerouted(key, () => this.mesh.remove(key, link)).filter(({ kind }) => kind !== 'gone');
  }

  /** A key has left the relays that links on demand lead to. */
  departed(key: NodeKey): Command[] {
    return this.mesh.has(key) || this.byKey.has(key) ? [] : [gone(key)];
  }

  /** How many connections the client's key has, and whether packets for the key go to this one. */
  standing(client: Client): { readonly connections: number; readonly active: boolean } {
    const known = this.byKey.get(client.key);
    return known && isClones(known)
      ? { connections: known.clients.length, active: known.active === client }
      : { connections: 1, active: true };
  }

  /** The mesh link that packets for a key take, unless the key is connected here. */
  linkTo(key: NodeKey): number | undefined {
    return this.mesh.preferred(key);
  }

  connectionsOf(key: NodeKey): readonly Client[] {
    const known = this.byKey.get(key);
    if (known === undefined) return [];
    return isClones(known) ? known.clients : [known];
  }

  /** The figures of the registry: frequent ones are counted as they happen, rare ones are computed here. */
  figures(): RelayFigures {
    let total = this.byKey.size;
    for (const key of this.mesh.keys()) if (!this.byKey.has(key)) total += 1;
    return {
      ...this.counts,
      ...this.mesh.counts,
      connections: this.byId.size,
      meshPeerKeys: this.meshPeers.size,
      localKeys: this.byKey.size,
      totalKeys: total,
      watchers: this.watchers.size,
      meshBatches: this.watchers.batches,
      meshLoops: this.watchers.loops,
    };
  }

  private countMeshPeer(key: NodeKey, change: 1 | -1): void {
    this.counts.meshPeers += change;
    const connections = (this.meshPeers.get(key) ?? 0) + change;
    if (connections > 0) this.meshPeers.set(key, connections);
    else this.meshPeers.delete(key);
  }

  private removeClone(clones: Clones, client: Client): void {
    clones.clients.splice(clones.clients.indexOf(client), 1);
    this.counts.dupConnections -= 1;
    const [survivor] = clones.clients;
    if (clones.clients.length === 1) {
      this.byKey.set(client.key, survivor as Client);
      this.counts.dupConnections -= 1;
      this.counts.dupKeys -= 1;
    } else if (clones.active === client) {
      // Holds until the plane reports which connection it chose.
      clones.active = survivor as Client;
    }
  }

  /** Changes the mesh map, and returns the route command if the preferred link of the key changed. */
  private rerouted(key: NodeKey, change: () => void): Command[] {
    const before = this.mesh.preferred(key);
    change();
    const after = this.mesh.preferred(key);
    if (after === before) return [];
    const route: Command = { kind: 'route', key, via: after ?? null };
    return after === undefined && !this.byKey.has(key) ? [route, gone(key)] : [route];
  }

  private broadcast(frame: () => Buffer): Command[] {
    if (this.watchers.size === 0) return [];
    this.watchers.toldOfChange();
    return [{ kind: 'send', ids: this.watchers.ids, frames: frame(), pull: false }];
  }

  /** Every connection that was let in. */
  clients(): Iterable<Client> {
    return this.byId.values();
  }

  private *everyone(): Generator<Client> {
    for (const known of this.byKey.values()) yield isClones(known) ? known.active : known;
  }
}

function isClones(known: Client | Clones): known is Clones {
  return 'clients' in known;
}

function gone(key: NodeKey): Command {
  return { kind: 'gone', key, reason: PeerGoneReason.Disconnected };
}
