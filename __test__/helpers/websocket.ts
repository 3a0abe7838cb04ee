/**
 * The client's side of DERP over WebSocket, as a stream that a `DerpClient` can run over. It masks and cuts frames itself,
 * rather than with the relay's code, and can send what no client should.
 */
import { createHash, randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { upgradeRequest } from './client.js';
import type { TestRelay } from './relay.js';
import { Changes } from './wait.js';
import { Wire } from './wire.js';

export const Opcode = { Continuation: 0, Text: 1, Binary: 2, Close: 8, Ping: 9, Pong: 10 } as const;

export interface FrameOptions {
  readonly opcode?: number;
  readonly final?: boolean;
  readonly masked?: boolean;
  /** Of the three reserved bits, as a number. */
  readonly reserved?: number;
  /** The length that the header has, whatever comes. */
  readonly announced?: number | bigint;
}

/** One frame of a client's. */
export function clientFrame(payload: Uint8Array, options: FrameOptions = {}): Buffer {
  const { opcode = Opcode.Binary, final = true, masked = true, reserved = 0 } = options;
  const length = BigInt(options.announced ?? payload.length);
  const first = (final ? 0x80 : 0) | (reserved << 4) | opcode;
  const bit = masked ? 0x80 : 0;
  const extended = Buffer.alloc(length < 126n ? 0 : length <= 0xffffn ? 2 : 8);
  if (extended.length === 2) extended.writeUInt16BE(Number(length));
  if (extended.length === 8) extended.writeBigUInt64BE(length);
  const short = extended.length === 0 ? Number(length) : extended.length === 2 ? 126 : 127;
  const mask = masked ? randomBytes(4) : Buffer.alloc(0);
  const body = masked ? payload.map((byte, index) => byte ^ (mask[index & 3] as number)) : payload;
  return Buffer.concat([Buffer.of(first, bit | short), extended, mask, body]);
}

export function closePayload(code: number, reason = ''): Buffer {
  return Buffer.concat([Buffer.of(code >> 8, code & 0xff), Buffer.from(reason)]);
}

interface Around {
  /** So many requests. */
  readonly before?: number;
  readonly behind?: readonly Uint8Array[];
  /** Says right behind that that nothing more will be sent. */
  readonly ends?: boolean;
}

export class WebSocketClient extends Duplex {
  /** Lengths of the binary messages that have come. */
  readonly messages: number[] = [];
  readonly pongs: string[] = [];
  /** The payload of the relay's close frame. */
  private closing: Buffer | undefined;
  private readonly changes = new Changes();
  private bytes: Buffer = Buffer.alloc(0);

  private constructor(readonly wire: Wire) {
    super();
  }

  /** Connects, and does the handshake: other requests go `before` it, and bytes `behind` it in the same write. */
  static async open(relay: TestRelay, around: Around = {}): Promise<WebSocketClient> {
    const client = new WebSocketClient(await Wire.open(relay.target()));
    await client.handshake(around);
    return client;
  }

  /** One write of bytes as they are. */
  raw(...bytes: readonly Uint8Array[]): void {
    this.wire.write(...bytes);
  }

  /** Waits for the relay's close frame, and returns its code; 1005 if it has none. */
  async closeCode(): Promise<number> {
    const payload = await this.changes.until(
      () => {
        if (!this.closing && this.wire.isOver) throw new Error('the connection is over, without a close frame');
        return this.closing;
      },
      () => 'a close frame',
    );
    return payload.length === 0 ? 1005 : payload.readUInt16BE();
  }

  async untilPongs(count: number): Promise<void> {
    await this.changes.until(
      () => this.pongs.length >= count || undefined,
      () => `${count} pongs, not ${this.pongs.length}`,
    );
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.raw(clientFrame(chunk));
    done();
  }

  override _final(done: () => void): void {
    this.wire.end();
    done();
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    void this.wire.destroy().then(() => done(error));
  }

  private async handshake({ before = 0, behind = [], ends = false }: Around): Promise<void> {
    const key = randomBytes(16).toString('base64');
    const headers = { 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': key, 'Sec-WebSocket-Protocol': 'derp' };
    for (let count = 0; count < before; count++) {
      this.wire.write('GET /generate_204 HTTP/1.1\r\nHost: relay\r\n\r\n');
      const answer = (await this.wire.takeThrough('\r\n\r\n')).toString('latin1');
      if (!answer.startsWith('HTTP/1.1 204 ')) throw new Error(`request ${count} was answered with ${answer}`);
    }
    this.wire.write(upgradeRequest({ ...headers, Upgrade: 'websocket' }), ...behind);
    if (ends) this.wire.end();
    const answer = (await this.wire.takeThrough('\r\n\r\n')).toString('latin1');
    const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
    const right = answer.startsWith('HTTP/1.1 101 ') && answer.includes(`\r\nSec-WebSocket-Accept: ${accept}\r\n`);
    if (!right || !answer.includes('\r\nSec-WebSocket-Protocol: derp\r\n')) {
      throw new Error(`the handshake was answered with ${answer}`);
    }
    this.wire.pipe(
      (bytes) => this.onBytes(bytes),
      () => this.onOver(),
    );
  }

  private onOver(): void {
    if (!this.readableEnded && !this.destroyed) this.push(null);
    this.changes.notify();
  }

  private onBytes(bytes: Buffer): void {
    this.bytes = this.bytes.length === 0 ? bytes : Buffer.concat([this.bytes, bytes]);
    for (let frame = this.cut(); frame; frame = this.cut()) this.onFrame(frame.first, frame.payload);
    this.changes.notify();
  }

  /** The next whole frame. A server masks none, and cuts none into fragments that does not have to. */
  private cut(): { first: number; payload: Buffer } | undefined {
    const [first, second] = this.bytes;
    if (first === undefined || second === undefined) return undefined;
    if (second & 0x80) throw new Error('a server has masked a frame');
    const extra = second === 126 ? 2 : second === 127 ? 8 : 0;
    const start = 2 + extra;
    if (this.bytes.length < start) return undefined;
    const length =
      extra === 2 ? this.bytes.readUInt16BE(2) : extra === 8 ? Number(this.bytes.readBigUInt64BE(2)) : second;
    if (this.bytes.length < start + length) return undefined;
    const payload = this.bytes.subarray(start, start + length);
    this.bytes = this.bytes.subarray(start + length);
    return { first, payload };
  }

  private onFrame(first: number, payload: Buffer): void {
    if (this.closing) throw new Error('a frame behind the close frame');
    switch (first) {
      case 0x80 | Opcode.Binary:
        this.messages.push(payload.length);
        this.push(payload);
        break;
      case 0x80 | Opcode.Pong:
        this.pongs.push(payload.toString('latin1'));
        break;
      case 0x80 | Opcode.Close:
        this.closing = Buffer.from(payload);
        break;
      default:
        throw new Error(`a frame that begins with ${first}`);
    }
  }
}
