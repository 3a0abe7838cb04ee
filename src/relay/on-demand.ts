/** Keys on demand, with the plane, the registry and the mesh of this relay. */
import type { Directory, DirectoryStatus } from '../control/directory/directory.js';
import { LineLimit } from '../control/line-limit.js';
import type { Mesh } from '../control/mesh.js';
import { type OnDemandStatus, RemoteKeys } from '../control/on-demand/remote-keys.js';
import { ON_DEMAND_TIMES, type OnDemandTimes } from '../control/on-demand/times.js';
import type { Barrier } from '../faults/barrier.js';
import type { Logger } from '../logger.js';
import type { DataPlane, LinkId } from '../plane/plane.js';
import { LINK_COLUMNS } from '../plane/snapshot.js';
import type { NodeKey } from '../protocol/key.js';
import type { Registry } from '../registry/registry.js';
import { runCommands } from './commands.js';

/** How a relay finds keys on demand. */
export interface RegionStatus extends OnDemandStatus {
  /** The directory of the region. */
  readonly directory: DirectoryStatus;
}

export interface OnDemandMaterials {
  readonly directory: Directory;
  readonly plane: DataPlane;
  readonly registry: Registry;
  readonly mesh: Mesh;
  readonly ownKey: NodeKey;
  readonly meshKey: string;
  readonly roots: readonly Uint8Array[];
  readonly mostKeys: number;
  /** Milliseconds. */
  readonly idle: number;
  readonly logger: Logger;
  readonly barrier: Barrier;
  readonly times?: Partial<OnDemandTimes> | undefined;
}

/** Lines about keys and relays that cannot be reached: so many at once, then one in this many milliseconds. */
const LINES = [5, 30_000] as const;
/** More than any connection's id: a page behind it has links alone. */
const BEHIND_ALL = Number.MAX_SAFE_INTEGER;

export class OnDemand {
  private readonly remote: RemoteKeys;
  private readonly lines = new LineLimit(...LINES, performance.now());
  /** Keys of clients that are announced. */
  private readonly announced = new Set<NodeKey>();

  constructor(private readonly materials: OnDemandMaterials) {
    const { plane, registry, mesh, logger, times, idle, ...others } = materials;
    this.remote = new RemoteKeys(
      {
        ...others,
        begin: (user) => mesh.begin(user),
        dial: (link, target) => plane.dial(link, target),
        hangUp: (link) => plane.hangUp(link),
        linkPackets: () => packetsOf(plane),
        attach: (key, link, before) => runCommands(plane, registry.linkLeads(link, key, before)),
        detach: (key, link) => runCommands(plane, registry.linkLeaves(link, key)),
        missing: (key) => plane.missing(key),
        departed: (key) => runCommands(plane, registry.departed(key)),
        log: (level, facts, text) => logger[level](facts, text),
        warn: (isNews, facts, text) => this.warn(isNews, facts, text),
      },
      { ...ON_DEMAND_TIMES, idle, ...times },
    );
  }

  start(): void {
    this.remote.start();
  }

  /** Stops dialling, and tells the region that this relay leaves. */
  async close(): Promise<void> {
    this.remote.stop();
    await this.materials.directory.close();
  }

  /** A client was let in. Mesh peers are no clients. */
  connected(key: NodeKey, mesh: boolean): void {
    if (mesh || this.announced.has(key)) return;
    this.announced.add(key);
    this.materials.directory.announce(key);
  }

  /** A connection of a key has ended, and the registry knows it. */
  disconnected(key: NodeKey): void {
    const { registry, directory } = this.materials;
    if (registry.connectionsOf(key).length > 0 || !this.announced.delete(key)) return;
    directory.withdraw(key);
    // It is still at another relay. Clients here may have packets of it from when it was here, which the plane does not tell.
    if (registry.linkTo(key) !== undefined) this.remote.heard(key);
  }

  lookup(key: NodeKey): void {
    this.remote.lookup(key);
  }

  heard(key: NodeKey): void {
    this.remote.heard(key);
  }

  status(): RegionStatus {
    return { ...this.remote.status(), directory: this.materials.directory.status() };
  }

  private warn(isNews: boolean, facts: object, text: string): void {
    const { logger } = this.materials;
    const heldBack = isNews ? this.lines.take(performance.now()) : undefined;
    if (heldBack === undefined) logger.debug(facts, text);
    else logger.warn({ ...facts, ...(heldBack > 0 && { heldBack }) }, text);
  }
}

/** The packets that each open link has carried. */
async function packetsOf(plane: DataPlane): Promise<ReadonlyMap<LinkId, number>> {
  const { links } = await plane.snapshot(BEHIND_ALL, 0);
  const [link, packets] = [LINK_COLUMNS.indexOf('link'), LINK_COLUMNS.indexOf('packetsSent')];
  const rows = new Map<LinkId, number>();
  for (let row = 0; row < links.length; row += LINK_COLUMNS.length)
    rows.set(links[row + link] as LinkId, links[row + packets] as number);
  return rows;
}
