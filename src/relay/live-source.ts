import type { Mesh } from '../control/mesh.js';
import type { LiveSource } from '../http/live-feed.js';
import type { Counters } from '../plane/counter-figures.js';
import { DROP_REASONS } from '../plane/counters.js';
import { HANDSHAKE_FAILURES, LOGIN_FAILURES } from '../plane/failures.js';
import type { DataPlane } from '../plane/plane.js';
import { SNAPSHOT_COLUMNS } from '../plane/snapshot.js';
import { formatNodeKey } from '../protocol/key.js';
import { isMeshPeer } from '../registry/client.js';
import type { Registry } from '../registry/registry.js';
import { type SnapshotRow, snapshotPages } from './client-list.js';
import type { OnDemand } from './on-demand.js';

/** Clients in the table of the busiest. */
const BUSIEST = 25;
const WIDTH = SNAPSHOT_COLUMNS.length;

/** Where the counters of a connection stand in a look at all of them. */
type Look = Map<number, readonly [received: number, sent: number]>;

interface Busy {
  readonly id: number;
  readonly rxRate: number;
  readonly txRate: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly dropped: number;
  readonly queued: number;
}

/** Handshakes and logins by the cause for which they failed; causes without one are absent. */
function failuresIn(counters: Counters): Record<string, number> {
  const causes = [
    ...HANDSHAKE_FAILURES.map((cause) => [`handshake ${cause}`, counters[`handshakes_failed:${cause}`]] as const),
    ...LOGIN_FAILURES.map((cause) => [`login ${cause}`, counters[`logins_failed:${cause}`]] as const),
  ];
  return Object.fromEntries(causes.filter(([, count]) => count > 0));
}

/** What the live page shows of a relay. It looks at single clients only while a page asks for them. */
export class RelayLiveSource implements LiveSource {
  private last: { readonly look: Look; readonly at: number } | undefined;

  constructor(
    private readonly plane: DataPlane,
    private readonly registry: Registry,
    private readonly mesh: Pick<Mesh, 'status'> | undefined,
    private readonly onDemand: Pick<OnDemand, 'status'> | undefined,
  ) {}

  figures(): object {
    const counters = this.plane.counters.readAll();
    const { connectionsEver, localKeys, home, meshPeers, meshPeerKeys } = this.registry.figures();
    const { user, system } = process.cpuUsage();
    const drops = DROP_REASONS.map((reason) => {
      const packets = counters[`packets_dropped:${reason}:disco`] + counters[`packets_dropped:${reason}:other`];
      return [reason, packets] as const;
    });
    return {
      // Seconds since 1970.
      time: Date.now() / 1000,
      // Mesh peers are no clients.
      connections: this.registry.clientCount,
      keys: localKeys - meshPeerKeys,
      links: meshPeers,
      home,
      packetsIn: counters['packets_received:disco'] + counters['packets_received:other'],
      packetsOut: counters.packets_sent,
      bytesIn: counters.bytes_received,
      bytesOut: counters.bytes_sent,
      drops: Object.fromEntries(drops.filter(([, packets]) => packets > 0)),
      // Milliseconds.
      queueDelay: counters.queue_time / 1e6,
      admitted: connectionsEver,
      failed: counters.logins_failed,
      refused: counters.connections_refused,
      failures: failuresIn(counters),
      // Seconds of all threads since the start.
      cpu: (user + system) / 1e6,
      memory: process.memoryUsage.rss(),
      mesh: this.relays(),
    };
  }

  /** The relays of the full mesh, and those that a link on demand leads to or is to lead to. */
  private relays(): object[] {
    const links = this.onDemand?.status().links.filter(({ state }) => state !== 'idle') ?? [];
    return [
      ...(this.mesh?.status() ?? []).map(({ relay, state, peers }) => ({ relay, state, peers })),
      ...links.map(({ address, state, keys }) => ({ relay: address, state, peers: keys })),
    ];
  }

  /** Rates are in bits a second since the last call; the first call has none. */
  async busiest(): Promise<object> {
    const at = performance.now();
    const { last } = this;
    const seconds = last ? Math.max(0.001, (at - last.at) / 1000) : Number.POSITIVE_INFINITY;
    const look: Look = new Map();
    let busiest: Busy[] = [];
    for await (const rows of snapshotPages(this.plane)) {
      for (let row = 0; row < rows.length; row += WIDTH) {
        const [id, , rxBytes, , txBytes, dropped, queued] = rows.subarray(row, row + WIDTH) as unknown as SnapshotRow;
        look.set(id, [rxBytes, txBytes]);
        const [received, sent] = last?.look.get(id) ?? [0, 0];
        if (rxBytes === received && txBytes === sent && queued === 0) continue;
        const [rxRate, txRate] = [((rxBytes - received) * 8) / seconds, ((txBytes - sent) * 8) / seconds];
        busiest.push({ id, rxRate, txRate, rxBytes, txBytes, dropped, queued });
      }
      busiest = busiest.sort((one, other) => other.rxRate + other.txRate - one.rxRate - one.txRate).slice(0, BUSIEST);
    }
    this.last = { look, at };
    return busiest.flatMap(({ id, ...figures }) => {
      const client = this.registry.get(id);
      if (!client || isMeshPeer(client)) return [];
      const { key, address, appName: app } = client;
      return [{ key: formatNodeKey(key), app, address, ...figures }];
    });
  }
}
