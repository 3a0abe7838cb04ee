import type { NodeKey } from '../protocol/key.js';

/**
 * Which mesh links lead to which keys. Several links can announce a key (a multi-forwarder). The oldest of them stays
 * preferred, so that a stream of packets keeps its route.
 */
export class MeshMap<Link> {
  /** The links to each key: usually one link, otherwise an array with the preferred link first and then by age. */
  private readonly forwarders = new Map<NodeKey, Link | Link[]>();
  readonly counts = { multiCreated: 0, multiDeleted: 0, deleteOther: 0 };

  /** The link that packets for `key` take. */
  preferred(key: NodeKey): Link | undefined {
    const known = this.forwarders.get(key);
    return Array.isArray(known) ? known[0] : known;
  }

  has(key: NodeKey): boolean {
    return this.forwarders.has(key);
  }

  get size(): number {
    return this.forwarders.size;
  }

  keys(): IterableIterator<NodeKey> {
    return this.forwarders.keys();
  }

  add(key: NodeKey, link: Link): void {
    const known = this.forwarders.get(key);
    if (known === undefined) {
      this.forwarders.set(key, link);
    } else if (Array.isArray(known)) {
      if (!known.includes(link)) known.push(link);
    } else if (known !== link) {
      this.forwarders.set(key, [known, link]);
      this.counts.multiCreated += 1;
    }
  }

  /** Removes `link` from the links to `key`, if it is one. */
  remove(key: NodeKey, link: Link): void {
    const known = this.forwarders.get(key);
    if (known === undefined) return;
    if (!Array.isArray(known)) {
      if (known === link) this.forwarders.delete(key);
      else this.counts.deleteOther += 1;
      return;
    }
    const index = known.indexOf(link);
    if (index < 0) return;
    known.splice(index, 1);
    if (known.length > 1) return;
    this.forwarders.set(key, known[0] as Link);
    this.counts.multiDeleted += 1;
  }
}
