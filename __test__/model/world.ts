/** What is known of a trace's connections without asking a relay: enough to say what may race with what. */
import { Duplicates } from '../../src/plane/js/duplicates.js';
import type { Actor } from './cast.js';
import type { Label } from './packet.js';
import type { Peer } from './peer.js';

/** One connection. */
export interface Link {
  /** Rising over a trace: in both relays the same connection has the same one. */
  readonly number: number;
  readonly slot: number;
  readonly actor: Actor;
  readonly peer: Peer;
  /** The relay's. */
  readonly id: number;

  // Its own frames.
  /** To be written by the next settling. */
  out: Buffer[];
  /** Packets it has sent. */
  sequence: number;
  home: boolean;
  watches: boolean;

  // What it is sent.
  /** Packets that have to have come. */
  expected: number;
  /** Packets and their bytes that may be on their way. */
  underWay: { packets: number; bytes: number };
  /** It may have been sent something since it was last looked at. */
  dirty: boolean;
  /** What was sent to it since it stopped reading; `undefined` while it reads. */
  stall: { readonly sent: (Label & { readonly source: string })[] } | undefined;
  /** Sources of which it may never have been sent a packet, because of the stall: whether it hears of their leaving is open. */
  readonly uncertain: Set<string>;
  /** Those that were uncertain at any time since its receipts were looked at. */
  readonly loose: Set<string>;
}

export function newLink(base: Pick<Link, 'number' | 'slot' | 'actor' | 'peer' | 'id'>): Link {
  return {
    ...base,
    out: [],
    sequence: 0,
    home: false,
    watches: false,
    expected: 0,
    underWay: { packets: 0, bytes: 0 },
    dirty: true,
    stall: undefined,
    uncertain: new Set(),
    loose: new Set(),
  };
}

export class World {
  private readonly slots = new Map<number, Link>();
  private readonly ports = new Map<number, Link>();
  private readonly clones = new Map<string, { links: Link[]; duplicates: Duplicates<Link> | undefined }>();
  /** Keys that have had several connections at once. */
  readonly cloned = new Set<string>();

  get links(): Link[] {
    return [...this.slots.values()];
  }

  at(slot: number): Link | undefined {
    return this.slots.get(slot);
  }

  /** The latest connection that came from a port, also if it has ended. */
  byPort(port: number): Link | undefined {
    return this.ports.get(port);
  }

  /** The connections of a key, by age. */
  of(name: string): readonly Link[] {
    return this.clones.get(name)?.links ?? [];
  }

  /** The connection that gets the packets for a key. */
  active(name: string): Link | undefined {
    const known = this.clones.get(name);
    return known?.duplicates ? known.duplicates.active : known?.links[0];
  }

  isActive(link: Link): boolean {
    return this.active(link.actor.name) === link;
  }

  add(link: Link): void {
    const { name } = link.actor;
    this.slots.set(link.slot, link);
    this.ports.set(link.peer.localPort, link);
    const known = this.clones.get(name);
    if (!known) {
      this.clones.set(name, { links: [link], duplicates: undefined });
      return;
    }
    if (known.duplicates) known.duplicates.add(link);
    else known.duplicates = new Duplicates(known.links[0] as Link, link);
    known.links.push(link);
    this.cloned.add(name);
  }

  /** A frame of the connection's is about to reach the relay. */
  activity(link: Link): void {
    this.clones.get(link.actor.name)?.duplicates?.activity(link);
  }

  remove(link: Link): void {
    const { name } = link.actor;
    this.slots.delete(link.slot);
    const known = this.clones.get(name);
    if (!known) return;
    known.links.splice(known.links.indexOf(link), 1);
    known.duplicates?.remove(link);
    if (known.links.length === 1) known.duplicates = undefined;
    if (known.links.length === 0) this.clones.delete(name);
  }
}
