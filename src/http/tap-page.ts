import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { DerpkitError } from '../errors.js';
import type { PacketTap, TapOptions } from '../plane/plane.js';
import { type NodeKey, parseNodeKeyHex } from '../protocol/key.js';
import { DEBUG_HEADERS, hangUp, sendError } from './responses.js';
import { JsonLines, Pcapng, type TapFormat } from './tap-formats.js';

/** Where packets come from. */
export interface TapSource {
  /** Opens the tap of the plane. Throws a {@link DerpkitError} with the code `ERR_STATE` if it is open already. */
  tap(options: TapOptions): PacketTap;
}

/** Milliseconds between signs of life, which keep the connection open and say what was missed. */
const PULSE = 5000;
/** Milliseconds after which a reader that takes nothing loses the tap, so that another one can have it. */
const STALLED = 30_000;
/** Bytes of the longest packet. */
const LONGEST = 65_536;
const PCAPNG = /\bapplication\/(?:x-)?pcapng\b/i;

/**
 * `/debug/tap`: the packets that the relay reads, as long as the reader stays. `?key=` shows those from or to a client, and
 * `?payload=` copies so many bytes of each. There is one tap at a time. What a slow reader misses is counted, and delays no packet.
 */
export async function sendTap(response: ServerResponse, source: TapSource, query: string): Promise<void> {
  const options = optionsOf(new URLSearchParams(query));
  if (typeof options === 'string') {
    sendError(response, 400, options, DEBUG_HEADERS);
    return;
  }
  const format = PCAPNG.test(response.req.headers.accept ?? '') ? new Pcapng() : new JsonLines();
  const headers = { ...DEBUG_HEADERS, 'Content-Type': format.contentType, 'Cache-Control': 'no-store', Vary: 'Accept' };
  if (response.req.method === 'HEAD') {
    response.writeHead(200, headers).end();
    return;
  }
  const tap = opened(source, options);
  if (!tap) {
    sendError(response, 409, 'a tap is open already, and there is one at a time: end it, and try again', DEBUG_HEADERS);
    return;
  }
  response.writeHead(200, headers);
  await new TapStream(response, tap, format).run();
}

function optionsOf(given: URLSearchParams): TapOptions | string {
  const [key, payload] = [given.get('key'), given.get('payload') || '0'];
  let nodeKey: NodeKey | undefined;
  if (key) {
    nodeKey = key.startsWith('nodekey:') ? parseNodeKeyHex(key.slice('nodekey:'.length)) : undefined;
    if (nodeKey === undefined) return 'key must be nodekey: and 64 hex digits';
  }
  if (!/^\d{1,5}$/.test(payload) || Number(payload) > LONGEST) return `payload must be a number from 0 to ${LONGEST}`;
  return { snapLength: Number(payload), ...(nodeKey !== undefined && { key: nodeKey }) };
}

function opened(source: TapSource, options: TapOptions): PacketTap | undefined {
  try {
    return source.tap(options);
  } catch (error) {
    if (error instanceof DerpkitError && error.code === 'ERR_STATE') return undefined;
    throw error;
  }
}

/** One reader of the tap. Takes a batch from the plane only when the reader has taken the one before. */
class TapStream {
  private seen = 0;
  private missed = 0;
  private isWaiting = false;
  private readonly left = new AbortController();

  constructor(
    private readonly response: ServerResponse,
    private readonly tap: PacketTap,
    private readonly format: TapFormat,
  ) {}

  async run(): Promise<void> {
    const { response, tap, format } = this;
    const leave = () => {
      this.left.abort();
      tap.stop();
    };
    response.once('close', leave);
    // The reader may have left before.
    if (response.destroyed) leave();
    response.flushHeaders();
    response.write(format.head());
    const pulse = setInterval(() => {
      if (!this.isWaiting && !this.pulse()) void this.drained();
    }, PULSE).unref();
    try {
      for await (const batch of tap) {
        this.seen += batch.frames.length;
        this.missed += batch.missed;
        let bytes: Buffer;
        try {
          bytes = format.packets(batch);
        } finally {
          batch.release();
        }
        if (!response.write(bytes)) await this.drained();
      }
    } finally {
      clearInterval(pulse);
      this.left.abort();
      tap.stop();
    }
    // Neither goes anywhere if the reader has left.
    this.pulse();
    response.end();
  }

  /** False if the reader is behind. */
  private pulse(): boolean {
    const { response, format, seen, missed } = this;
    return response.destroyed || response.write(format.pulse(Date.now(), seen, missed));
  }

  private async drained(): Promise<void> {
    const { response, left } = this;
    this.isWaiting = true;
    const late = setTimeout(() => hangUp(response), STALLED);
    await once(response, 'drain', { signal: left.signal }).catch(() => undefined);
    clearTimeout(late);
    this.isWaiting = false;
  }
}
