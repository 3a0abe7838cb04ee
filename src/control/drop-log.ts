import type { DropReason } from '../plane/counters.js';
import type { PacketDrop } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';

/** Lines of one key to another: this many at once, then one in this time. derper's. */
const BURST = 5;
const INTERVAL = 30_000;
/** Pairs of keys that are remembered, the most recent ones. derper's. */
const PAIRS = 100;

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
  lines: number;
  since: number;
  packets: Partial<Record<DropReason, number>>;
}

/**
 * Turns drops into lines of a log, few enough to be read. What is held back is told of with the pair's next line; if none
 * comes, the metrics have it all.
 */
export class DropLog {
  private readonly pairs = new Map<string, Pair>();

  /** What is to be logged now, on a clock in milliseconds. */
  lines(drops: readonly PacketDrop[], now: number): DropLine[] {
    const touched = new Set<Pair>();
    for (const { source, destination, reason, packets } of drops) {
      const pair = this.pair(source, destination, now);
      pair.packets[reason] = (pair.packets[reason] ?? 0) + packets;
      touched.add(pair);
    }
    return [...touched].flatMap((pair) => (mayLog(pair, now) ? [lineOf(pair)] : []));
  }

  private pair(source: NodeKey, destination: NodeKey, now: number): Pair {
    const name = `${source}${destination}`;
    const pair = this.pairs.get(name) ?? { source, destination, lines: BURST, since: now, packets: {} };
    // The last one is the most recent.
    this.pairs.delete(name);
    this.pairs.set(name, pair);
    if (this.pairs.size > PAIRS) this.pairs.delete(this.pairs.keys().next().value as string);
    return pair;
  }
}

function mayLog(pair: Pair, now: number): boolean {
  pair.lines = Math.min(BURST, pair.lines + (now - pair.since) / INTERVAL);
  pair.since = now;
  if (pair.lines < 1) return false;
  pair.lines -= 1;
  return true;
}

function lineOf(pair: Pair): DropLine {
  const { source, destination, packets } = pair;
  pair.packets = {};
  return { source, destination, packets };
}
