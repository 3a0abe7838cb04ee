/** The relays of the mesh: which there are, what their links announce, and the links to dial or to end. */
import type { LinkChange, LinkId } from '../plane/plane.js';
import { formatNodeKey, type NodeKey } from '../protocol/key.js';
import { LineLimit } from './line-limit.js';
import { DialPlaces } from './mesh/dial-places.js';
import type { LinkUser } from './mesh/link-user.js';
import { MESH_TIMES, type MeshParts, type MeshTimes } from './mesh/parts.js';
import type { MeshStatus } from './mesh/status.js';
import { idOf, type WantedRelay } from './mesh/wanted.js';
import { type Common, Watch } from './mesh/watch.js';
import { MeshKeys } from './mesh-keys.js';

export { MESH_TIMES, type MeshParts, type MeshTimes } from './mesh/parts.js';
export type { MeshStatus } from './mesh/status.js';

/** Dials of found relays that begin at once, and the milliseconds after which others may begin beside them. */
const PLACES = 32;
const HOLD = 1_000;
/** Lines about found relays that cannot be reached: so many at once, then one in this many milliseconds. */
const LINES = [10, 30_000] as const;
/** Milliseconds between two lines about another relay with our key. */
const TWIN_LINES = 60_000;

export class Mesh {
  private readonly watches = new Map<string, Watch>();
  /** Also those that are given up, while another one has their place. */
  private readonly running = new Set<Watch>();
  private readonly byLink = new Map<LinkId, LinkUser>();
  /** The relays that open links lead to. */
  private readonly open = new Map<LinkId, NodeKey>();
  private readonly common: Common;
  private readonly twinLines = new LineLimit(1, TWIN_LINES, performance.now());
  private lastLink = 0;
  private isOpen = false;

  /** `wanted` are the relays of the settings. */
  constructor(
    wanted: readonly WantedRelay[],
    private readonly parts: MeshParts,
    times: MeshTimes = MESH_TIMES,
  ) {
    this.common = {
      parts,
      times,
      keys: new MeshKeys(parts.mostKeys),
      places: new DialPlaces(PLACES, HOLD),
      lines: new LineLimit(...LINES, performance.now()),
      begin: (user) => this.begin(user),
      holderOf: (key) => [...this.watches.values()].find((watch) => watch.serverKey === key && watch.holds),
      onEnd: (key) => {
        for (const watch of this.watches.values()) if (watch.serverKey === key) watch.hurry('duplicate');
      },
      onTwin: (facts) => this.twin(facts),
    };
    for (const [index, relay] of wanted.entries()) this.watches.set(`${index}`, new Watch(relay, this.common));
  }

  start(): void {
    this.isOpen = true;
    for (const [id, watch] of this.watches) this.run(id, watch);
  }

  /** Stops dialling. The plane closes the links. */
  stop(): void {
    this.isOpen = false;
    for (const watch of this.running) watch.stop();
  }

  /** Meshes with these relays, beside those of the settings, and with no others. What is among them already stays as it is. */
  follow(found: readonly WantedRelay[]): void {
    if (!this.isOpen) return;
    const next = new Map(found.map((relay) => [idOf(relay), relay]));
    for (const { wanted } of this.watches.values()) if (!wanted.isFound) next.delete(idOf(wanted));
    for (const [id, watch] of this.watches) {
      if (!watch.wanted.isFound || next.has(id)) continue;
      watch.leave();
      // This relay itself has no loop that ends.
      if (watch.state === 'self') this.watches.delete(id);
    }
    for (const [id, relay] of next) {
      const stays = this.watches.get(id)?.stay(relay) ?? false;
      if (!stays) this.run(id, new Watch(relay, this.common));
    }
  }

  status(): MeshStatus[] {
    return [...this.watches.values()].map((watch) => watch.status());
  }

  /**
   * A client with the mesh key has logged in: a relay of the mesh, which can be dialled now if it could not before. Returns
   * whether it is a relay that this one knows.
   */
  arrived(key: NodeKey, address: string): boolean {
    const watches = [...this.watches.values()];
    if (key === this.parts.ownKey) {
      // This relay itself, if it is dialling: the check after the dial finds out.
      if (!watches.some((watch) => watch.isDialling)) this.twin({ addr: address });
      return true;
    }
    const known = watches.filter(({ serverKey }) => serverKey === key);
    for (const watch of known) watch.hurry('waiting');
    if (known.length > 0) return true;
    // A relay that has just started: it was dialled too early.
    const there = watches.filter((watch) => watch.isAt(address));
    for (const watch of there) watch.hurry('waiting');
    return there.length > 0;
  }

  /** The relay that an open link leads to, by its key. */
  relayAt(link: LinkId): NodeKey | undefined {
    return this.open.get(link);
  }

  /** Numbers a link for a dial of `user`. */
  begin(user: LinkUser): LinkId {
    this.lastLink += 1;
    this.byLink.set(this.lastLink, user);
    return this.lastLink;
  }

  linkOpen(link: LinkId, serverKey: NodeKey): void {
    this.open.set(link, serverKey);
    this.byLink.get(link)?.onOpen(serverKey);
  }

  linkPeers(link: LinkId, changes: readonly LinkChange[]): void {
    this.byLink.get(link)?.onPeers(changes);
  }

  linkClosed(link: LinkId, reason: string): void {
    const user = this.byLink.get(link);
    this.byLink.delete(link);
    this.open.delete(link);
    user?.onClosed(reason);
  }

  private run(id: string, watch: Watch): void {
    this.watches.set(id, watch);
    this.running.add(watch);
    const ended = watch.run().then(() => {
      this.running.delete(watch);
      if (watch.isGone && this.watches.get(id) === watch) this.watches.delete(id);
    });
    void this.parts.barrier.settle('a mesh link', ended);
  }

  /** Another relay has our key. It would take the packets of this one, and the two never mesh, so that the line is an error. */
  private twin(facts: object): void {
    const { ownKey: key, ownKeyFrom: from, log } = this.parts;
    const text = 'another relay has the key of this relay, so that the two cannot mesh: give each a key of its own';
    const heldBack = this.twinLines.take(performance.now());
    log(heldBack === undefined ? 'debug' : 'error', { ...facts, key: formatNodeKey(key), from }, text);
  }
}
