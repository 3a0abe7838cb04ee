/**
 * WebSocket framing (RFC 6455), the server's side. Pure. A client's DERP stream is the payloads of its binary messages,
 * joined. Message boundaries mean nothing, so the decoder never collects a message.
 */
import { createHash } from 'node:crypto';

/** The longest payload of a ping, pong or close. */
export const MAX_CONTROL_LENGTH = 125;

const Opcode = { Continuation: 0x0, Text: 0x1, Binary: 0x2, Close: 0x8, Ping: 0x9, Pong: 0xa } as const;

const FINAL = 0x80;
/** The bits for extensions; the relay never agrees on an extension. */
const RESERVED = 0x70;
/** The bit that marks control opcodes. */
const CONTROL = 0x08;
const MASKED = 0x80;
const MASK_LENGTH = 4;
/** Values of the length field that announce a length of 16 or 64 bits behind it. */
const LENGTH_16 = 126;
const LENGTH_64 = 127;

export const CloseCode = {
  Normal: 1000,
  ProtocolError: 1002,
  Unsupported: 1003,
  PolicyViolation: 1008,
  TooLong: 1009,
} as const;

/** Each fault of a client, with the close code that the relay answers. */
const FAULTS = {
  reservedBits: CloseCode.ProtocolError,
  notMasked: CloseCode.ProtocolError,
  opcode: CloseCode.ProtocolError,
  controlFrame: CloseCode.ProtocolError,
  continuation: CloseCode.ProtocolError,
  text: CloseCode.Unsupported,
  length: CloseCode.ProtocolError,
  tooLong: CloseCode.TooLong,
  closePayload: CloseCode.ProtocolError,
} as const;
export type WebSocketFaultKind = keyof typeof FAULTS;

/** The client broke the WebSocket protocol: the caller closes the connection with `code`. */
export class WebSocketFault extends Error {
  override name = 'WebSocketFault';
  readonly code: number;

  constructor(readonly kind: WebSocketFaultKind) {
    super(`WebSocket fault: ${kind}`);
    this.code = FAULTS[kind];
  }
}

export interface WebSocketSink {
  /** Receives the next bytes of the DERP stream, and owns them. */
  onData(bytes: Buffer): void;
  /** Receives a ping; the caller answers with a {@link pongFrame}. */
  onPing(payload: Buffer): void;
  /**
   * Receives the client's close, the last frame. The caller answers with a {@link closeReply}, unless it has sent a
   * close itself.
   */
  onClose(payload: Buffer): void;
}

interface Header {
  readonly opcode: number;
  readonly isFinal: boolean;
  readonly payload: number;
  readonly mask: Buffer;
  readonly length: number;
}

const NOTHING = Buffer.alloc(0);

/** Reads a client's frames. Holds only the bytes of an incomplete header or control frame. */
export class WebSocketDecoder {
  private kept = NOTHING;
  /** Payload bytes of the current frame that have not arrived yet. */
  private left = 0;
  private mask = NOTHING;
  /** Index of the mask byte for the next payload byte. */
  private turn = 0;
  private inMessage = false;
  private ended = false;
  /** Bytes that later frames of the current message may have. */
  private allowance: number;

  /** A message may have `maxMessage` bytes over all its frames. */
  constructor(
    private readonly sink: WebSocketSink,
    private readonly maxMessage: number,
  ) {
    this.allowance = maxMessage;
  }

  /** Bytes that wait for the rest of a header or control frame. */
  get held(): number {
    return this.kept.length;
  }

  /** Takes the next bytes of the stream and owns the chunk from then on. Throws {@link WebSocketFault}. */
  push(chunk: Buffer): void {
    const bytes = this.kept.length === 0 ? chunk : Buffer.concat([this.kept, chunk]);
    this.kept = NOTHING;
    let at = 0;
    while (at < bytes.length && !this.ended) {
      const next = this.left > 0 ? this.payload(bytes, at) : this.frame(bytes, at);
      if (next === undefined) {
        this.kept = Buffer.from(bytes.subarray(at));
        return;
      }
      at = next;
    }
  }

  private payload(bytes: Buffer, at: number): number {
    const length = Math.min(this.left, bytes.length - at);
    const data = bytes.subarray(at, at + length);
    this.turn = unmask(data, this.mask, this.turn);
    this.left -= length;
    this.sink.onData(data);
    return at + length;
  }

  /**
   * Reads the header of a data frame, or a whole control frame. Returns the offset behind it; `undefined` while bytes are
   * missing.
   */
  private frame(bytes: Buffer, at: number): number | undefined {
    let header: Header | undefined;
    try {
      header = this.header(bytes.subarray(at));
    } catch (fault) {
      this.ended = true;
      throw fault;
    }
    if (!header) return undefined;
    const start = at + header.length;
    if (header.opcode & CONTROL) return this.control(header, bytes, start);
    this.left = header.payload;
    this.mask = Buffer.from(header.mask);
    this.turn = 0;
    this.inMessage = !header.isFinal;
    this.allowance = header.isFinal ? this.maxMessage : this.allowance - header.payload;
    return start;
  }

  private control({ opcode, payload, mask }: Header, bytes: Buffer, start: number): number | undefined {
    if (bytes.length < start + payload) return undefined;
    const body = bytes.subarray(start, start + payload);
    unmask(body, mask, 0);
    if (opcode === Opcode.Ping) this.sink.onPing(body);
    if (opcode === Opcode.Close) {
      this.ended = true;
      if (!isClosePayload(body)) throw new WebSocketFault('closePayload');
      this.sink.onClose(body);
    }
    return start + payload;
  }

  /** The header at the start of `bytes`; `undefined` while bytes of it are missing. */
  private header(bytes: Buffer): Header | undefined {
    if (bytes.length < 2) return undefined;
    const [first = 0, second = 0] = bytes;
    const opcode = first & 0x0f;
    this.check(first, second);
    const short = second & ~MASKED;
    const extra = short === LENGTH_16 ? 2 : short === LENGTH_64 ? 8 : 0;
    if (bytes.length < 2 + extra) return undefined;
    const payload = extra === 2 ? bytes.readUInt16BE(2) : extra === 8 ? Number(bytes.readBigUInt64BE(2)) : short;
    if (extra === 8 && (bytes[2] as number) >= 0x80) throw new WebSocketFault('length');
    if (payload > (opcode & CONTROL ? MAX_CONTROL_LENGTH : this.allowance)) throw new WebSocketFault('tooLong');
    const length = 2 + extra + MASK_LENGTH;
    if (bytes.length < length) return undefined;
    return { opcode, isFinal: (first & FINAL) !== 0, payload, mask: bytes.subarray(2 + extra, length), length };
  }

  /** Throws for a fault that the first two bytes of a frame show. */
  private check(first: number, second: number): void {
    if (first & RESERVED) throw new WebSocketFault('reservedBits');
    if (!(second & MASKED)) throw new WebSocketFault('notMasked');
    switch (first & 0x0f) {
      case Opcode.Close:
      case Opcode.Ping:
      case Opcode.Pong:
        if (!(first & FINAL) || (second & ~MASKED) >= LENGTH_16) throw new WebSocketFault('controlFrame');
        break;
      case Opcode.Continuation:
        if (!this.inMessage) throw new WebSocketFault('continuation');
        break;
      case Opcode.Text:
        throw new WebSocketFault(this.inMessage ? 'continuation' : 'text');
      case Opcode.Binary:
        if (this.inMessage) throw new WebSocketFault('continuation');
        break;
      default:
        throw new WebSocketFault('opcode');
    }
  }
}

/** Unmasks in place, from byte `turn` of the mask on. Returns the index of the next mask byte. */
function unmask(bytes: Buffer, mask: Buffer, turn: number): number {
  let next = turn;
  for (let index = 0; index < bytes.length; index++) {
    bytes[index] = (bytes[index] as number) ^ (mask[next] as number);
    next = (next + 1) & 3;
  }
  return next;
}

/** The header of an unmasked binary message of `length` bytes. */
export function binaryHeader(length: number): Buffer {
  return head(Opcode.Binary, length);
}

export function pongFrame(payload: Uint8Array): Buffer {
  return control(Opcode.Pong, payload);
}

/** `reason` is at most 123 bytes of UTF-8. */
export function closeFrame(code: number, reason = ''): Buffer {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason));
  payload.writeUInt16BE(code);
  payload.write(reason, 2);
  return control(Opcode.Close, payload);
}

/** The answer to a client's close repeats its payload. */
export function closeReply(payload: Uint8Array): Buffer {
  return control(Opcode.Close, payload);
}

/** `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key`. */
export function acceptOf(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

function control(opcode: number, payload: Uint8Array): Buffer {
  if (payload.length > MAX_CONTROL_LENGTH) throw new RangeError(`a control frame of ${payload.length} bytes`);
  return Buffer.concat([head(opcode, payload.length), payload]);
}

function head(opcode: number, length: number): Buffer {
  const first = FINAL | opcode;
  if (length < LENGTH_16) return Buffer.of(first, length);
  const bytes = Buffer.alloc(length <= 0xffff ? 4 : 10);
  bytes[0] = first;
  if (bytes.length === 4) {
    bytes[1] = LENGTH_16;
    bytes.writeUInt16BE(length, 2);
  } else {
    bytes[1] = LENGTH_64;
    bytes.writeBigUInt64BE(BigInt(length), 2);
  }
  return bytes;
}

/** Whether a close payload is valid: empty, or a code that may be sent and an optional reason. */
function isClosePayload(payload: Buffer): boolean {
  if (payload.length === 0) return true;
  if (payload.length === 1) return false;
  const code = payload.readUInt16BE();
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}
