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

/** Longest message. The largest DERP frame fits; derper uses half of this. */
const MAX_MESSAGE = 128 << 10;
/**
 * Milliseconds that a peer has to take the close frame and end its side. If the socket were closed while the peer still
 * sends, the peer would lose the last data it was sent.
 */
const LINGER = 1000;

/** The DERP stream within an established WebSocket. Bytes written together leave as one binary message. */
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
        // A peer that pings without reading gets no answers, so they take no memory.
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

  /** Write deadlines read from it how many bytes have not left. */
  get _handle(): unknown {
    return (this.inner as { _handle?: unknown })._handle;
  }

  /** Takes bytes of the inner stream, and those that arrived before it was wrapped. */
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
      // The close frame is written once, and waits only briefly.
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
    // A close frame is the last frame.
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
