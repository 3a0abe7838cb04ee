import type { Settings } from '../config.js';
import type { PlanePolicy } from '../plane/plane.js';
import { MOST_CONNECTIONS } from './descriptors.js';

/** As often as derper asks for them. */
const ROUND_TRIPS = 10_000;

/** Connections of each pool of those that are not admitted, where there may be many connections. */
const POOL = 4096;
/** Handshakes of one listener that wait for a certificate. */
const PARKED = 1024;
/**
 * The part of all connections that one pool of strangers has. The pools of both listeners together use at most half of the
 * descriptors, an HTTP connection over TLS counting three: strangers never keep out a client that there is a place for.
 */
const STRANGERS = 1 / 16;
/** The part of all connections that log in, or wait for admission: a slow verifier makes thousands wait at once. */
const LOGINS = 1 / 4;

/**
 * The bounds of the plane: what settings and the rate file decide, and what is the same everywhere. `connections` is how
 * many there may be at once; where those are few, the pools of strangers leave more than half of them to clients.
 */
export function planePolicy(
  settings: Settings,
  rate?: NonNullable<PlanePolicy['receiveRate']>,
  connections: number = settings.limits.connections ?? MOST_CONNECTIONS,
  tellFailures = false,
): PlanePolicy {
  const { acceptConnectionLimit: perSecond, acceptConnectionBurst: burst, limits: overAll } = settings;
  const pool = Math.min(POOL, Math.ceil(connections * STRANGERS));
  return {
    limits: {
      headBytes: 16 << 10,
      clientInfoBytes: 256 << 10,
      connections,
      handshakes: pool,
      parkedHandshakes: Math.min(PARKED, pool),
      pendingLogins: Math.min(POOL, Math.ceil(connections * LOGINS)),
      // A real ClientInfo has about a hundred bytes: room for 4096 of them, and for a few as large as they may be.
      loginBytes: 16 << 20,
      duplexes: pool,
      perAddress: overAll.perAddress,
      exempt: overAll.exempt,
      // Twenty thousand presences; a dump waits at half of it.
      controlBytes: 1 << 20,
      leftoverBytes: 64 << 10,
      peerGoneSubscriptions: 65536,
      partialBytes: overAll.partialBytes,
      queuedBytes: overAll.queuedBytes,
      peerGonePairs: overAll.peerGonePairs,
    },
    deadlines: {
      handshake: 10_000,
      // As long as an order of a certificate may take.
      certificate: 5 * 60_000,
      head: 10_000,
      clientInfo: 10_000,
      admission: 15_000,
      write: settings.tcpWriteTimeout,
      meshWrite: 30_000,
      linkWrite: 5_000,
      linkSilence: 120_000,
      // A client that has vanished is closed within a minute.
      silence: 45_000,
      pong: settings.tcpUserTimeout,
    },
    queueDepth: settings.queueDepth,
    // 700 KB a queue of packets of 1400 B.
    linkQueueDepth: 512,
    // Clients give a silent connection up after 120 s.
    keepAlive: { interval: 60_000, jitter: 5_000 },
    notHere: { burst: 3, perSecond: 1 },
    tcp: {
      keepAlive: settings.tcpKeepaliveTime,
      userTimeout: settings.tcpUserTimeout,
      roundTrips: settings.roundTrips ? ROUND_TRIPS : 0,
    },
    acceptRate: perSecond === Number.POSITIVE_INFINITY ? null : { perSecond, burst },
    tellFailures,
    watchedDrops: settings.verboseDrops,
    // A new object each time: it is a new rate, with full buckets.
    receiveRate: rate && rate.bytesPerSecond > 0 ? { ...rate } : null,
  };
}
