/** Cuts the answers of a relay into their parts: lines, and blocks of pcapng. */

/** Bytes of the longest line: five minutes of figures, with the reasons of all drops. */
export const LONGEST_LINE = 4 << 20;
/** Bytes of the longest block: a packet, and what is said about it. */
const LONGEST_BLOCK = 1 << 20;
const SECTION = 0x0a0d0d0a;

/** The whole lines of a stream, without their ends. Throws if one is longer than any of a relay. */
export async function* linesOf(stream: AsyncIterable<Buffer>): AsyncGenerator<string, void, void> {
  let rest: Buffer[] = [];
  let length = 0;
  for await (const chunk of untilCut(stream)) {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      yield Buffer.concat([...rest, chunk.subarray(start, end)]).toString();
      [rest, length, start] = [[], 0, end + 1];
    }
    rest.push(chunk.subarray(start));
    length += chunk.length - start;
    if (length > LONGEST_LINE) throw new Error('a line of the answer is too long for a relay');
  }
}

/** Blocks of pcapng: as many whole ones as have come, together. */
export interface Blocks {
  readonly bytes: Buffer;
  readonly packets: number;
  /** Packets that were lost in front of these. */
  readonly missed: number;
}

/** The whole blocks of a stream, so that a file that ends early is still a file. `most` packets, and no more. */
export async function* blocksOf(stream: AsyncIterable<Buffer>, most: number): AsyncGenerator<Blocks, void, void> {
  let rest = Buffer.alloc(0);
  let isFirst = true;
  let left = most;
  for await (const chunk of untilCut(stream)) {
    rest = Buffer.concat([rest, chunk]);
    let [at, packets, missed] = [0, 0, 0];
    while (packets < left && rest.length - at >= 12) {
      const [type, length] = [rest.readUInt32LE(at), rest.readUInt32LE(at + 4)];
      if ((isFirst && type !== SECTION) || length % 4 !== 0 || length < 12 || length > LONGEST_BLOCK)
        throw new Error('the answer is no pcapng');
      if (rest.length - at < length) break;
      isFirst = false;
      if (type === 6) {
        packets += 1;
        missed += dropCount(rest.subarray(at, at + length));
      }
      at += length;
    }
    if (at > 0) yield { bytes: rest.subarray(0, at), packets, missed };
    left -= packets;
    if (left <= 0) return;
    rest = rest.subarray(at);
  }
}

/** What comes until the connection ends, in order or not: a relay that ends cuts its answers short. */
async function* untilCut(stream: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  try {
    yield* stream;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
  }
}

/** The option of a packet that says how many were lost before it. */
function dropCount(block: Buffer): number {
  const captured = block.readUInt32LE(20);
  const end = block.length - 4;
  for (let at = 28 + captured + (-captured & 3); at + 4 <= end; ) {
    const [code, length] = [block.readUInt16LE(at), block.readUInt16LE(at + 2)];
    if (code === 4 && length === 8) return Number(block.readBigUInt64LE(at + 4));
    at += 4 + length + (-length & 3);
  }
  return 0;
}

/** The JSON that a relay has sent. Throws an Error in words for anything else. */
export function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error('the answer is no JSON');
  }
}
