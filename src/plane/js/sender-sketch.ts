import { type NodeKey, nodeKeyBytes } from '../../protocol/key.js';

/** Bits of a hash that choose its register, and the other ones. */
const INDEX_BITS = 12;
const RANK_BITS = 32 - INDEX_BITS;
const REGISTERS = 1 << INDEX_BITS;
/** So many senders are counted one by one: their hashes take as much memory as the registers do. */
const MOST_HASHES = REGISTERS / Uint32Array.BYTES_PER_ELEMENT;
const FIRST_HASHES = 8;

/**
 * How many peers have sent packets to one client, estimated in at most 4 KiB (HyperLogLog). Up to a thousand senders are
 * counted one by one, more are estimated: the standard error is 1.6 %. The native plane has the same sketch, and
 * `__test__/vectors/senders.json` tests both.
 */
export class SenderSketch {
  /** Hashes of the senders, ascending; the first `count` of them count. */
  private hashes = new Uint32Array(FIRST_HASHES);
  private count = 0;
  /** In each register the highest rank of the hashes that chose it; set once there are too many senders to keep their hashes. */
  private registers: Uint8Array | undefined;

  /** Counts a sender, unless it was counted before. */
  insert(sender: NodeKey): void {
    const hash = hashOf(sender);
    if (this.registers) {
      note(this.registers, hash);
      return;
    }
    const at = this.position(hash);
    if (at < this.count && this.hashes[at] === hash) return;
    if (this.count === MOST_HASHES) {
      this.registers = new Uint8Array(REGISTERS);
      for (const known of this.hashes) note(this.registers, known);
      note(this.registers, hash);
      this.hashes = new Uint32Array();
      return;
    }
    this.makeRoom();
    this.hashes.copyWithin(at + 1, at, this.count);
    this.hashes[at] = hash;
    this.count += 1;
  }

  /** About how many senders there were. */
  estimate(): number {
    return this.registers ? estimate(this.registers) : this.count;
  }

  /** Where the hash stands, or would stand. */
  private position(hash: number): number {
    let [from, to] = [0, this.count];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((this.hashes[middle] as number) < hash) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  private makeRoom(): void {
    if (this.count < this.hashes.length) return;
    const larger = new Uint32Array(2 * this.hashes.length);
    larger.set(this.hashes);
    this.hashes = larger;
  }
}

/** 32 bits of a key, each of which depends on all of its bytes. */
function hashOf(key: NodeKey): number {
  const bytes = nodeKeyBytes(key);
  let hash = 0;
  for (let at = 0; at < bytes.length; at += 4) {
    hash = Math.imul(hash ^ bytes.readUInt32LE(at), 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  // The last steps of MurmurHash3.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function note(registers: Uint8Array, hash: number): void {
  const index = hash >>> RANK_BITS;
  const rank = Math.min(Math.clz32(hash << INDEX_BITS), RANK_BITS) + 1;
  registers[index] = Math.max(rank, registers[index] as number);
}

/**
 * The improved estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017): it is
 * unbiased over the whole range, without tables.
 */
export function estimate(registers: Uint8Array): number {
  const ranks = new Array<number>(RANK_BITS + 2).fill(0);
  for (const rank of registers) ranks[rank] = (ranks[rank] as number) + 1;
  const [empty = 0, ...others] = ranks;
  const full = others.pop() as number;
  let sum = REGISTERS * tau(1 - full / REGISTERS);
  for (const count of others.reverse()) sum = 0.5 * (sum + count);
  sum += REGISTERS * sigma(empty / REGISTERS);
  return Math.round((REGISTERS * REGISTERS) / (2 * Math.LN2) / sum);
}

/** What the empty registers are worth. Some register is not empty. */
function sigma(empty: number): number {
  let [share, sum, weight] = [empty, empty, 1];
  for (let before = Number.NaN; sum !== before; weight += weight) {
    share *= share;
    before = sum;
    sum += share * weight;
  }
  return sum;
}

/** What the registers of the highest rank are worth. */
function tau(lower: number): number {
  let [share, sum, weight] = [lower, 1 - lower, 1];
  for (let before = Number.NaN; sum !== before; ) {
    share = Math.sqrt(share);
    before = sum;
    weight *= 0.5;
    sum -= (1 - share) ** 2 * weight;
  }
  return sum / 3;
}
