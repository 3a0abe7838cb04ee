import type { NodeKey } from '../../protocol/key.js';
import type { DialTarget, LinkId } from '../plane.js';
import type { PlaneContext } from './context.js';
import { Link } from './link.js';

/** The plane's links, dials included, and the link for each remote key. */
export class Links {
  private readonly links = new Map<LinkId, Link>();
  private readonly routes = new Map<NodeKey, LinkId>();

  dial(id: LinkId, target: DialTarget, context: PlaneContext): void {
    const ended = () => context.events.raise((to) => to.linkClosed(id, 'internal error'));
    const begin = () => new Link(id, target, context, () => this.links.delete(id));
    const link = context.barrier.run('a dial', begin, ended);
    if (!link) return;
    this.links.set(id, link);
    link.start();
  }

  hangUp(id: LinkId): void {
    this.links.get(id)?.close('we hung up');
  }

  route(key: NodeKey, via: LinkId | null): void {
    if (via === null) this.routes.delete(key);
    else this.routes.set(key, via);
  }

  /** The link to a key; it may have ended. */
  via(key: NodeKey): LinkId | undefined {
    return this.routes.get(key);
  }

  /** The link, if it is open. */
  open(id: LinkId): Link | undefined {
    const link = this.links.get(id);
    return link?.isOpen ? link : undefined;
  }

  /** Rows of a snapshot, one after the other, in the order of {@link LINK_COLUMNS}. */
  figures(): number[] {
    return [...this.links.values()].filter((link) => link.isOpen).flatMap((link) => link.figures());
  }

  close(): void {
    for (const link of this.links.values()) link.close('shutdown');
  }
}
