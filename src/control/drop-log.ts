import type { DropReason } from '../plane/counters.js';
import type { PacketDrop } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';
import { LineLimit } from './line-limit.js';

/** Lines of one key to another: this many at once, then one in this time. derper's. */
const BURST = 5;
const INTERVAL = 30_000;
/** Pairs of keys that are remembered, the most recent ones. derper's. */
const PAIRS = 100;
/** Lines of all pairs together: a sender can have as many keys as it likes, each of which makes a pair. */
const BURST_OF_ALL = 500;
const INTERVAL_OF_ALL = 1000;

/** What is to be logged of one key's packets to another. */
export interface DropLine {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  /** Packets since the last line, by reason. */
  readonly packets: Readonly<Partial<Record<DropReason, number>>>;
}

interface Pair {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  readonly limit: LineLimit;
  packets: Partial<Record<DropReason, number>>;
}

/**
 * Turns drops into lines of a log, few enough to be read. What is held back is told of with the pair's next line; if none
 * comes, the metrics have it all.
 */
export class DropLog {
  private readonly pairs = new Map<string, Pair>();
  private readonly all: LineLimit;

  constructor(now: number) {
    this.all = new LineLimit(BURST_OF_ALL, INTERVAL_OF_ALL, now);
  }

  /** What is to be logged now, on a clock in milliseconds. */
  lines(drops: readonly PacketDrop[], now: number): DropLine[] {
    const touched = new Set<Pair>();
    for (const { source, destination, reason, packets } of drops) {
      const pair = this.pair(source, destination, now);
      pair.packets[reason] = (pair.packets[reason] ?? 0) + packets;
      touched.add(pair);
    }
    return [...touched].flatMap((pair) => (this.mayLog(pair, now) ? [lineOf(pair)] : []));
  }

  private pair(source: NodeKey, destination: NodeKey, now: number): Pair {
    const name = `${source}${destination}`;
    const pair = this.pairs.get(name) ?? {
      source,
      destination,
      limit: new LineLimit(BURST, INTERVAL, now),
      packets: {},
    };
    // The last one is the most recent.
    this.pairs.delete(name);
    this.pairs.set(name, pair);
    if (this.pairs.size > PAIRS) this.pairs.delete(this.pairs.keys().next().value as string);
    return pair;
  }

  private mayLog({ limit }: Pair, now: number): boolean {
    return limit.take(now) !== undefined && this.all.take(now) !== undefined;
  }
}

function lineOf(pair: Pair): DropLine {
  const { source, destination, packets } = pair;
  pair.packets = {};
  return { source, destination, packets };
}
