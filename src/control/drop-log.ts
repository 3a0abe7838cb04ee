import type { DropReason } from '../plane/counters.js';
import type { PacketDrop } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';
import { LineLimit } from './line-limit.js';

/** derper's limit of lines for one pair of keys: this many at once, then one in this many milliseconds. */
const BURST = 5;
const INTERVAL = 30_000;
/** derper's limit of remembered pairs; the oldest is forgotten. */
const PAIRS = 100;
/** The limit of lines for all pairs together: a sender can use any number of keys, and each makes a pair. */
const BURST_OF_ALL = 500;
const INTERVAL_OF_ALL = 1000;

/** A log line about packets from one key to another. */
export interface DropLine {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  /** Dropped packets since the last line, by reason. */
  readonly packets: Readonly<Partial<Record<DropReason, number>>>;
}

interface Pair {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  readonly limit: LineLimit;
  packets: Partial<Record<DropReason, number>>;
}

/**
 * Turns drops into few log lines. Drops that are held back appear in the pair's next line; without one, only metrics
 * count them.
 */
export class DropLog {
  private readonly pairs = new Map<string, Pair>();
  private readonly all: LineLimit;

  constructor(now: number) {
    this.all = new LineLimit(BURST_OF_ALL, INTERVAL_OF_ALL, now);
  }

  /** The lines to log now. `now` is in milliseconds. */
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
    // The last entry of the map is the most recent.
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
