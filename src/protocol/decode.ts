/** Cuts a byte stream into frames, however it was split on the way. */
import { FrameType, HEADER_LENGTH, MAX_BODY_LENGTH, MAX_FORWARD_LENGTH } from './wire.js';

/** The peer broke the protocol. There is no error frame in DERP: whoever catches this closes the connection. */
export class ProtocolError extends Error {
  override name = 'ProtocolError';
}

/** What is wrong with a login, in the words of `LOGIN_FAILURES`. */
export type LoginFault = 'no_client_info' | 'bad_length' | 'bad_key' | 'bad_box' | 'bad_info';

/** The client's login is at fault. */
export class LoginError extends ProtocolError {
  override name = 'LoginError';

  constructor(
    readonly fault: LoginFault,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

export interface FrameSink {
  /**
   * A header has arrived, its body may not have. Throws {@link ProtocolError} to refuse the frame before any of the body
   * is kept. Returns whether the body is wanted; an unwanted one is skipped as it streams by.
   */
  onHeader(type: number, length: number): boolean;
  /** A wanted frame, header included. The bytes are the sink's: it may overwrite and keep them. */
  onFrame(type: number, frame: Buffer): void;
}

const NOTHING = Buffer.alloc(0);
const FIRST_PARTIAL = 512;

export class FrameDecoder {
  /** A frame that is not whole yet: `0 <= have <= partial.length`, and `partial` grows with what came, not with what was announced. */
  private partial = NOTHING;
  private have = 0;
  /** Length of the current frame with its header, once the header is known; 0 before. */
  private need = 0;
  private wanted = false;
  /** Bytes of an unwanted body still to be passed over. */
  private skip = 0;
  /** What came while {@link pause}d. */
  private backlog: Buffer[] = [];
  private paused = false;
  private ended = false;

  constructor(private readonly sink: FrameSink) {}

  /** Bytes held of a frame that is not whole yet, and of whatever came while paused. */
  get held(): number {
    return this.have + this.backlog.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  /** The memory that {@link held} takes. */
  get kept(): number {
    return this.held - this.have + this.partial.length;
  }

  /** A frame has begun whose end has not come: what comes next is taken, paused or not. */
  get within(): boolean {
    return this.need > 0 || this.skip > 0;
  }

  /** Decodes no further than to the end of the frame that has begun until {@link resume}. */
  pause(): void {
    this.paused = true;
  }

  /** Decodes nothing more, and lets go of what is held: a deadline may remember its connection for a while. */
  end(): void {
    this.paused = true;
    this.ended = true;
    this.backlog = [];
    this.need = 0;
    this.skip = 0;
    this.forget();
  }

  /** Goes on with what came in between, in order. */
  resume(): void {
    this.paused = false;
    const chunks = this.backlog;
    this.backlog = [];
    for (const chunk of chunks) this.push(chunk);
  }

  /** Takes the next bytes of the stream; the chunk becomes the decoder's. Throws what the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.paused && !this.within) {
        // A copy: a few bytes at the end of a chunk would keep all of it.
        if (!this.ended) this.backlog.push(Buffer.from(chunk.subarray(at)));
        return;
      }
      at = this.step(chunk, at);
    }
  }

  /** Takes one header, one frame, or as much of one as `chunk` has from `at` on. Returns where it stopped. */
  private step(chunk: Buffer, at: number): number {
    const left = chunk.length - at;
    if (this.skip > 0) {
      const passed = Math.min(this.skip, left);
      this.skip -= passed;
      return at + passed;
    }
    if (this.have > 0 || left < HEADER_LENGTH) return this.gather(chunk, at);
    if (!this.header(chunk, at)) return at + HEADER_LENGTH;
    if (left < this.need) return this.gather(chunk, at);
    const end = at + this.need;
    this.deliver(chunk.subarray(at, end));
    return end;
  }

  /** Adds to the frame that is not whole yet: first up to the end of its header, then up to its own. */
  private gather(chunk: Buffer, at: number): number {
    const next = this.keep(chunk, at, this.need || HEADER_LENGTH);
    const headed = this.need > 0 || (this.have === HEADER_LENGTH && this.header(this.partial, 0));
    if (headed && this.have === this.need) this.deliver(this.takePartial());
    else if (!headed && this.have === HEADER_LENGTH) this.forget();
    return next;
  }

  /** Reads the header at `at`. True if its body is to be delivered. */
  private header(bytes: Buffer, at: number): boolean {
    const length = bytes.readUInt32BE(at + 1);
    this.wanted = this.sink.onHeader(bytes[at] as number, length);
    if (this.wanted) this.need = HEADER_LENGTH + length;
    else this.skip = length;
    return this.wanted;
  }

  private deliver(frame: Buffer): void {
    this.need = 0;
    this.sink.onFrame(frame[0] as number, frame);
  }

  /** Copies from `chunk` until `upTo` bytes are held. */
  private keep(chunk: Buffer, at: number, upTo: number): number {
    const taken = Math.min(upTo - this.have, chunk.length - at);
    const total = this.have + taken;
    if (total > this.partial.length) {
      const room = Math.min(Math.max(this.need, HEADER_LENGTH), Math.max(total, 2 * this.have, FIRST_PARTIAL));
      const grown = Buffer.allocUnsafeSlow(Math.max(room, total));
      this.partial.copy(grown, 0, 0, this.have);
      this.partial = grown;
    }
    chunk.copy(this.partial, this.have, at, at + taken);
    this.have = total;
    return at + taken;
  }

  private takePartial(): Buffer {
    const frame = this.partial.subarray(0, this.have);
    this.forget();
    return frame;
  }

  private forget(): void {
    this.partial = NOTHING;
    this.have = 0;
  }
}

/** The longest body of any inbound frame of this type after login. */
export function maxBodyLength(type: number): number {
  return type === FrameType.ForwardPacket ? MAX_FORWARD_LENGTH : MAX_BODY_LENGTH;
}
