/** Cuts a byte stream into frames, wherever the transport split it. */
import { FrameType, HEADER_LENGTH, MAX_BODY_LENGTH, MAX_FORWARD_LENGTH } from './wire.js';

/** The peer broke the protocol. DERP has no error frame, so the caller closes the connection. */
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
   * Receives the header of a frame, whose body may not have arrived yet. Throws {@link ProtocolError} to refuse the
   * frame before any of its body is kept. Returns whether the decoder collects the body; it skips any other body as it
   * streams by.
   */
  onHeader(type: number, length: number): boolean;
  /**
   * Receives a frame that {@link onHeader} wanted, header included. The sink owns the bytes: it may overwrite and keep
   * them.
   */
  onFrame(type: number, frame: Buffer): void;
}

const NOTHING = Buffer.alloc(0);
const FIRST_PARTIAL = 512;

export class FrameDecoder {
  /**
   * The incomplete frame: `have` bytes of it have arrived. `partial` grows with the bytes that arrive, not with the
   * announced length.
   */
  private partial = NOTHING;
  private have = 0;
  /** Length of the current frame, header included; 0 until the header is complete. */
  private need = 0;
  private wanted = false;
  /** Bytes of an unwanted body that the decoder still has to skip. */
  private skip = 0;
  /** What arrived while the decoder was {@link pause}d: the first `waiting` bytes of `backlog`, which grows with them. */
  private backlog = NOTHING;
  private waiting = 0;
  private paused = false;
  private ended = false;

  constructor(private readonly sink: FrameSink) {}

  /** Bytes of the incomplete frame, and those that arrived while paused. */
  get held(): number {
    return this.have + this.waiting;
  }

  /** The memory that the {@link held} bytes occupy. */
  get kept(): number {
    return this.backlog.length + this.partial.length;
  }

  /**
   * True inside a frame: its first bytes have arrived, its last have not. A paused decoder still reads to the end of
   * that frame.
   */
  get within(): boolean {
    return this.need > 0 || this.skip > 0;
  }

  /** Stops at the end of the current frame, until {@link resume}. */
  pause(): void {
    this.paused = true;
  }

  /** Stops for good and frees the held bytes: a deadline may keep a reference to the connection for a while. */
  end(): void {
    this.paused = true;
    this.ended = true;
    this.takeBacklog();
    this.need = 0;
    this.skip = 0;
    this.forget();
  }

  /** Decodes what arrived while paused, and continues. */
  resume(): void {
    this.paused = false;
    this.push(this.takeBacklog());
  }

  /** Takes the next bytes of the stream and owns the chunk from then on. Throws what the sink throws. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.paused && !this.within) {
        if (!this.ended) this.wait(chunk, at);
        return;
      }
      at = this.step(chunk, at);
    }
  }

  /**
   * Takes one header, one frame, or as much of one as `chunk` has from `at` on. Returns the offset where it stopped.
   */
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

  /** Adds bytes to the incomplete frame: first to complete its header, then to complete its body. */
  private gather(chunk: Buffer, at: number): number {
    const next = this.keep(chunk, at, this.need || HEADER_LENGTH);
    const headed = this.need > 0 || (this.have === HEADER_LENGTH && this.header(this.partial, 0));
    if (headed && this.have === this.need) this.deliver(this.takePartial());
    else if (!headed && this.have === HEADER_LENGTH) this.forget();
    return next;
  }

  /** Reads the header at `at`. Returns whether the sink wants the body. */
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

  /** Copies the rest of `chunk` behind what waits: a slice, or a copy for each chunk, would take far more than its bytes. */
  private wait(chunk: Buffer, at: number): void {
    const total = this.waiting + chunk.length - at;
    if (total > this.backlog.length) {
      this.backlog = grown(this.backlog, this.waiting, Math.max(total, 2 * this.waiting, FIRST_PARTIAL));
    }
    chunk.copy(this.backlog, this.waiting, at);
    this.waiting = total;
  }

  private takeBacklog(): Buffer<ArrayBuffer> {
    const bytes = this.backlog.subarray(0, this.waiting);
    this.backlog = NOTHING;
    this.waiting = 0;
    return bytes;
  }

  /** Copies from `chunk` until `upTo` bytes are held. */
  private keep(chunk: Buffer, at: number, upTo: number): number {
    const taken = Math.min(upTo - this.have, chunk.length - at);
    const total = this.have + taken;
    if (total > this.partial.length) {
      const room = Math.min(Math.max(this.need, HEADER_LENGTH), Math.max(total, 2 * this.have, FIRST_PARTIAL));
      this.partial = grown(this.partial, this.have, Math.max(room, total));
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

/** A buffer of `room` bytes that begins with the first `have` of another. */
function grown(from: Buffer, have: number, room: number): Buffer<ArrayBuffer> {
  const to = Buffer.allocUnsafeSlow(room);
  from.copy(to, 0, 0, have);
  return to;
}

/** The longest body that an inbound frame of this type may have after login. */
export function maxBodyLength(type: number): number {
  return type === FrameType.ForwardPacket ? MAX_FORWARD_LENGTH : MAX_BODY_LENGTH;
}
