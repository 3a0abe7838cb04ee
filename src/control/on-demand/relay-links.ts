/** The links to the relays that announce themselves. */
import type { LinkId } from '../../plane/plane.js';
import type { NodeKey } from '../../protocol/key.js';
import type { AnnouncedRelay } from '../directory/directory.js';
import type { OnDemandParts } from './parts.js';
import { RelayLink, type RelayLinkSink, type RelayLinkStatus } from './relay-link.js';
import type { OnDemandTimes } from './times.js';

export class RelayLinks {
  private readonly links = new Map<NodeKey, RelayLink>();
  private looking: NodeJS.Timeout | undefined;
  /** Links that were closed because nothing took them. */
  closedIdle = 0;

  /** `leave` takes the routes of a link away, before it is closed. */
  constructor(
    private readonly parts: OnDemandParts,
    private readonly times: OnDemandTimes,
    private readonly sink: RelayLinkSink,
    private readonly leave: (link: RelayLink) => void,
  ) {}

  start(): void {
    const { barrier } = this.parts;
    const look = barrier.guard('idle links', () => void barrier.settle('idle links', this.look()));
    this.looking = setInterval(look, this.times.look).unref();
  }

  stop(): void {
    clearInterval(this.looking);
    for (const link of this.links.values()) link.stop();
  }

  /**
   * Takes the relays that announce themselves now. A relay that no longer does keeps its open link; returns those that have
   * none.
   */
  follow(relays: readonly AnnouncedRelay[]): NodeKey[] {
    const present = new Set(relays.map(({ id }) => id));
    for (const relay of relays) {
      const known = this.links.get(relay.id);
      if (known) known.relay = relay;
      else this.links.set(relay.id, new RelayLink(relay, this.parts, this.times, this.sink));
    }
    const lost: NodeKey[] = [];
    for (const [id, link] of this.links) {
      if (present.has(id) || link.open !== undefined) continue;
      link.stop();
      this.links.delete(id);
      lost.push(id);
    }
    return lost;
  }

  get(relay: NodeKey): RelayLink | undefined {
    return this.links.get(relay);
  }

  /** The relay that an open link leads to. */
  byId(link: LinkId): RelayLink | undefined {
    // No copy of all: this is asked for each key of a link that opens or ends.
    for (const one of this.links.values()) if (one.open === link) return one;
    return undefined;
  }

  status(): RelayLinkStatus[] {
    return [...this.links.values()].map((link) => link.status());
  }

  private async look(): Promise<void> {
    const packets = await this.parts.linkPackets();
    for (const link of this.links.values()) {
      const open: LinkId | undefined = link.open;
      const carried = open === undefined ? undefined : packets.get(open);
      if (carried === undefined || !link.isIdle(carried)) continue;
      this.closedIdle += 1;
      this.leave(link);
      link.hangUp();
    }
  }
}
