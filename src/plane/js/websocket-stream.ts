import { Duplex } from 'node:stream';
import type { Barrier } from '../../faults/barrier.js';
import {
  binaryHeader,
  CloseCode,
  closeFrame,
  closeReply,
  pongFrame,
  WebSocketDecoder,
  WebSocketFault,
} from '../../protocol/websocket.js';

/** Room for the largest frame of DERP as one message; derper takes half of it. */
const MAX_MESSAGE = 128 << 10;
/**
 * How long a peer has, in milliseconds, to take the close frame, and to end its side: what it was told last is lost to it
 * if its socket is closed while it still sends.
 */
const LINGER = 1000;

/** The DERP stream within a WebSocket whose handshake is done. What is written at once leaves as one binary message. */
export class WebSocketStream extends Duplex {
  private readonly decoder: WebSocketDecoder;
  private closing = false;

  constructor(
    private readonly inner: Duplex,
    barrier: Barrier,
  ) {
    super({ allowHalfOpen: true });
    this.decoder = new WebSocketDecoder(
      {
        onData: (bytes) => {
          if (!this.push(bytes)) inner.pause();
        },
        // A peer that pings and does not read gets no answers, and no room for them.
        onPing: (payload) => {
          if (!inner.writableNeedDrain) inner.write(pongFrame(payload));
        },
        onClose: (payload) => {
          this.sayClose(closeReply(payload));
          this.push(null);
        },
      },
      MAX_MESSAGE,
    );
    barrier.on(
      inner,
      'a WebSocket',
      {
        data: (chunk: Buffer) => this.onBytes(chunk),
        end: () => this.push(null),
        error: () => this.destroy(),
        close: () => this.destroy(),
      },
      () => inner.destroy(),
    );
  }

  /** What write deadlines look at: how much has not left. */
  get _handle(): unknown {
    return (this.inner as { _handle?: unknown })._handle;
  }

  /** Bytes that came before, or besides, those of the inner stream. */
  onBytes(chunk: Buffer): void {
    if (this.closing || this.destroyed) return;
    try {
      this.decoder.push(Buffer.from(chunk));
    } catch (error) {
      if (!(error instanceof WebSocketFault)) throw error;
      this.sayClose(closeFrame(error.code));
      this.push(null);
    }
  }

  override _read(): void {
    this.inner.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.message([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.message(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { inner } = this;
    if (!inner.destroyed) {
      if (!this.closing) this.sayClose(closeFrame(CloseCode.Normal));
      // The close frame is worth one write, and little waiting.
      if (inner.writableNeedDrain) {
        inner.destroy();
      } else {
        const linger = setTimeout(() => inner.destroy(), LINGER).unref();
        inner.once('close', () => clearTimeout(linger));
        inner.once('end', () => inner.destroy());
        inner.end(() => {
          if (inner.readableEnded) inner.destroy();
        });
        inner.resume();
      }
    }
    done(error);
  }

  private message(chunks: readonly Buffer[], done: (error?: Error | null) => void): void {
    // Behind a close frame there is nothing.
    if (this.closing) {
      done(new Error('the WebSocket is closing'));
      return;
    }
    this.inner.cork();
    this.inner.write(binaryHeader(chunks.reduce((sum, { length }) => sum + length, 0)));
    chunks.forEach((chunk, index) => {
      if (index < chunks.length - 1) this.inner.write(chunk);
      else this.inner.write(chunk, done);
    });
    this.inner.uncork();
  }

  private sayClose(frame: Buffer): void {
    if (this.closing || this.inner.destroyed) return;
    this.closing = true;
    this.inner.write(frame);
  }
}
