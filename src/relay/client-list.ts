import { setImmediate } from 'node:timers/promises';
import type { DataPlane } from '../plane/plane.js';
import { SNAPSHOT_COLUMNS } from '../plane/snapshot.js';
import { formatNodeKey } from '../protocol/key.js';
import { PresenceFlag } from '../protocol/wire.js';
import type { ClientStatus } from '../registry/client-status.js';
import type { Registry } from '../registry/registry.js';

/** Connections that are looked at before other work gets its turn: about a millisecond of it. */
const PIECE = 1000;
const WIDTH = SNAPSHOT_COLUMNS.length;

/** What the list is made of. */
export interface ClientParts {
  readonly registry: Registry;
  readonly plane: DataPlane;
  /** Whether the plane counts the peers that send packets to each client. */
  readonly countsSenders: boolean;
}

/**
 * All connections, in pieces, in the order of their ids. Between pieces the relay does other work: a connection that comes or
 * goes meanwhile may be missing, one that stays is there once.
 */
export async function* clientPieces({
  registry,
  plane,
  countsSenders,
}: ClientParts): AsyncGenerator<ClientStatus[], void, void> {
  for await (const rows of snapshotPages(plane)) {
    const piece: ClientStatus[] = [];
    for (let at = 0; at < rows.length; at += WIDTH) {
      const status = statusOf(rows.subarray(at, at + WIDTH), registry);
      if (status) piece.push(countsSenders ? status : { ...status, senders: null });
    }
    if (piece.length > 0) yield piece;
  }
}

/** The rows of a snapshot of all connections, page by page. Between pages the relay does other work. */
export async function* snapshotPages(plane: DataPlane): AsyncGenerator<Float64Array, void, void> {
  for (let after = 0; ; await setImmediate()) {
    const { rows } = await plane.snapshot(after, PIECE);
    yield rows;
    if (rows.length < PIECE * WIDTH) return;
    after = rows[rows.length - WIDTH] as number;
  }
}

/** The connections of {@link clientPieces} one by one. */
export async function* eachClient(parts: ClientParts): AsyncGenerator<ClientStatus, void, void> {
  for await (const piece of clientPieces(parts)) yield* piece;
}

/** `undefined` for a connection whose login or end has not reached the registry yet. */
function statusOf(row: Float64Array, registry: Registry): ClientStatus | undefined {
  const [id, packetsIn, bytesIn, packetsOut, bytesOut, dropped, queued, senders, roundTrip, ...queue] =
    row as unknown as SnapshotRow;
  const [head, tail, age, overBudget, mean, max] = queue;
  const client = registry.get(id);
  if (!client) return undefined;
  const { key, address, port, flags, appName, version, tlsVersion, since, home } = client;
  const { connections, active } = registry.standing(client);
  return {
    id,
    key: formatNodeKey(key),
    address,
    port,
    connectedAt: Math.round(performance.timeOrigin + since),
    active,
    duplicate: connections > 1,
    home,
    mesh: (flags & PresenceFlag.MeshPeer) !== 0,
    notIdeal: (flags & PresenceFlag.NotIdeal) !== 0,
    prober: (flags & PresenceFlag.Prober) !== 0,
    version,
    app: appName,
    tls: tlsVersion,
    received: { packets: packetsIn, bytes: bytesIn },
    sent: { packets: packetsOut, bytes: bytesOut },
    dropped,
    queued,
    senders,
    queueDrops: { head, tail, age, overBudget },
    queueDelay: max > 0 ? { mean: inMicroseconds(mean), max: inMicroseconds(max) } : null,
    roundTrip: Number.isNaN(roundTrip) ? null : inMicroseconds(roundTrip),
  };
}

/** Milliseconds without digits that mean nothing. */
function inMicroseconds(milliseconds: number): number {
  return Math.round(milliseconds * 1000) / 1000;
}

/** The columns of a snapshot, in their order. */
export type SnapshotRow = [
  id: number,
  packetsIn: number,
  bytesIn: number,
  packetsOut: number,
  bytesOut: number,
  dropped: number,
  queued: number,
  senders: number,
  roundTrip: number,
  droppedHead: number,
  droppedTail: number,
  droppedAge: number,
  droppedOverBudget: number,
  queueDelayMean: number,
  queueDelayMax: number,
];
