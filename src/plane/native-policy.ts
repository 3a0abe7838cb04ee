/** The policy as the binding has it: one flat object. */
import { nodeKeyBytes } from '../protocol/key.js';
import type { PlanePolicy } from './plane.js';

/** `receiveEpoch` is another number with every receive rate that was given, even if it says the same. */
export function flat(policy: PlanePolicy, receiveEpoch: number): object {
  const { limits, deadlines, queueDepth, linkQueueDepth, keepAlive, notHere, tcp } = policy;
  const { acceptRate, receiveRate, watchedDrops, tellFailures } = policy;
  return {
    ...limits,
    ...deadlines,
    queueDepth,
    linkQueueDepth,
    keepAlive: keepAlive.interval,
    keepAliveJitter: keepAlive.jitter,
    notHereBurst: notHere.burst,
    notHerePerSecond: notHere.perSecond,
    acceptBurst: acceptRate?.burst,
    acceptPerSecond: acceptRate?.perSecond,
    receiveBurst: receiveRate?.burst,
    receivePerSecond: receiveRate?.bytesPerSecond,
    receiveEpoch,
    tcpKeepAlive: tcp.keepAlive,
    tcpUserTimeout: tcp.userTimeout,
    roundTrips: tcp.roundTrips,
    tellFailures,
    watchedDrops: watchedDrops.map(nodeKeyBytes),
  };
}
