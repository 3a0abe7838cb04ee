import type { Settings } from '../config.js';
import type { PlaneLookups, PlanePolicy } from '../plane/plane.js';
import { MOST_CONNECTIONS } from './descriptors.js';

/** derper's interval between samples of round trips, in milliseconds. */
const ROUND_TRIPS = 10_000;

/** Most connections in each pool of unadmitted connections. */
const POOL = 4096;
/** Handshakes of one listener that wait for a certificate. */
const PARKED = 1024;
/**
 * The share of all connections that one pool of strangers may have. The pools of both listeners together then use at
 * most half of the descriptors, even though a TLS connection of the HTTP server uses three, so strangers never keep out
 * a client that could be served.
 */
const STRANGERS = 1 / 16;
/**
 * The share of all connections that may be logging in or waiting for admission: a slow verifier makes thousands wait at
 * once.
 */
const LOGINS = 1 / 4;

/** The lookups of a relay that finds keys on demand. */
export const LOOKUPS: PlaneLookups = {
  // A client that comes back asks for all of its peers at once; one that sends to random keys must cost little.
  perSecond: 100,
  burst: 1000,
  // 40 ms of lookups of a thousand clients, each at its limit.
  keys: 4096,
  // A sixteenth: what another address asks for waits behind so many at most, for some tens of milliseconds.
  keysPerAddress: 256,
  // Three thousand packets of 1400 B.
  bytes: 4 << 20,
  // A quarter: memory delays no other address.
  bytesPerAddress: 1 << 20,
  // As many as 327 clients at their limit cause while one is known.
  misses: 65536,
  // A client that connects elsewhere is reachable after this time.
  missTime: 2000,
};

/**
 * The policy of the plane: some values come from settings and the rate file, the others are fixed. `connections` is the
 * bound of connections; if it is low, the pools of strangers leave more than half of it to clients.
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
      // A real ClientInfo has about a hundred bytes: room for 4096 of them, and for some of maximum length.
      loginBytes: 16 << 20,
      duplexes: pool,
      perAddress: overAll.perAddress,
      exempt: overAll.exempt,
      // Twenty thousand PeerPresent frames; a dump pauses at half of this.
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
      // A vanished client is closed within a minute.
      silence: 45_000,
      pong: settings.tcpUserTimeout,
    },
    queueDepth: settings.queueDepth,
    // A full queue of 1400 B packets takes 700 KB.
    linkQueueDepth: 512,
    // Clients give up on a silent connection after 120 s.
    keepAlive: { interval: 60_000, jitter: 5_000 },
    notHere: { burst: 3, perSecond: 1 },
    lookups: settings.mesh.mode === 'on-demand' ? LOOKUPS : null,
    tcp: {
      keepAlive: settings.tcpKeepaliveTime,
      userTimeout: settings.tcpUserTimeout,
      roundTrips: settings.roundTrips ? ROUND_TRIPS : 0,
    },
    acceptRate: perSecond === Number.POSITIVE_INFINITY ? null : { perSecond, burst },
    tellFailures,
    countSenders: settings.senderCardinality,
    watchedDrops: settings.verboseDrops,
    // A new object: the plane recognises a new rate by it, and refills the buckets.
    receiveRate: rate && rate.bytesPerSecond > 0 ? { ...rate } : null,
  };
}
