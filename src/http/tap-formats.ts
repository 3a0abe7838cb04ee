/** How a tap is told to its reader: as lines of JSON, or as pcapng. */
import type { TapBatch, TapFrame } from '../plane/plane.js';
import { formatNodeKey, type NodeKey } from '../protocol/key.js';
import { fileHead, nameOf, packet, statistics } from './pcapng.js';

/** Turns the packets of one tap into bytes. What it returns shares no memory with the batches. */
export interface TapFormat {
  readonly contentType: string;
  /** What the stream begins with; it may be empty. */
  head(): Buffer;
  packets(batch: TapBatch): Buffer;
  /** A sign of life between packets: what the tap has seen and missed since it was opened. `time` in milliseconds since 1970. */
  pulse(time: number, seen: number, missed: number): Buffer;
}

/** Keys whose names a file has; beyond them names are written again. */
const MOST_NAMES = 10_000;

/** One line for each packet, one for packets that were missed, and one for each sign of life. */
export class JsonLines implements TapFormat {
  readonly contentType = 'application/x-ndjson';

  head(): Buffer {
    return Buffer.alloc(0);
  }

  packets({ frames, missed }: TapBatch): Buffer {
    const lines = frames.map((frame) => line(packetOf(frame)));
    return Buffer.from((missed > 0 ? line({ missed }) : '') + lines.join(''));
  }

  pulse(time: number, seen: number, missed: number): Buffer {
    return Buffer.from(line({ time, total: { seen, missed } }));
  }
}

export class Pcapng implements TapFormat {
  readonly contentType = 'application/x-pcapng';
  private readonly named = new Set<NodeKey>();

  head(): Buffer {
    return fileHead();
  }

  packets({ frames, missed }: TapBatch): Buffer {
    const blocks = frames.flatMap((frame, index) => [...this.newNames(frame), packet(frame, index === 0 ? missed : 0)]);
    return Buffer.concat(blocks);
  }

  pulse(time: number, seen: number, missed: number): Buffer {
    return statistics(time, seen, missed);
  }

  private newNames({ source, destination }: TapFrame): Buffer[] {
    return [...new Set([source, destination])].flatMap((key) => {
      if (this.named.has(key)) return [];
      if (this.named.size >= MOST_NAMES) this.named.clear();
      this.named.add(key);
      return [nameOf(key)];
    });
  }
}

function packetOf({ time, source, destination, kind, length, bytes, dropped }: TapFrame): object {
  return {
    time,
    source: formatNodeKey(source),
    destination: formatNodeKey(destination),
    kind,
    length,
    dropped,
    ...(bytes.length > 0 && {
      payload: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64'),
    }),
  };
}

function line(value: object): string {
  return `${JSON.stringify(value)}\n`;
}
