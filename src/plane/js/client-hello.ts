/**
 * Reads from a ClientHello what the choice of a certificate needs. OpenSSL's own callback comes too late and reports
 * too little.
 */
import { isIP } from 'node:net';

export interface ClientHello {
  /** The server name in lower case; empty if there is none. */
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** Signature schemes that the client accepts. */
  readonly schemes: readonly number[];
}

/** The longest ClientHello that is read. Those of clients in use are below 4 KiB. */
const MOST = 16 << 10;

const HANDSHAKE = 22;
const RECORD_HEADER = 5;
/** The header of a handshake message: 1 byte type, 3 bytes length. */
const MESSAGE_HEADER = 4;
const CLIENT_HELLO = 1;

const SERVER_NAME = 0;
const SIGNATURE_ALGORITHMS = 13;
const ALPN = 16;

/**
 * Reads the ClientHello at the start of `received`; `more` while bytes are missing. `other`: not a ClientHello, too
 * long, or malformed, so that OpenSSL has to answer it.
 */
export function readClientHello(received: Buffer): ClientHello | 'more' | 'other' {
  return new HelloReader().read(received);
}

/** Reads a ClientHello that arrives in pieces. It processes each record once, however many there are. */
export class HelloReader {
  /** Offset of the first incomplete record. */
  private at = 0;
  /** The part of the handshake message that the records before it carry. */
  private bytes: Buffer = Buffer.alloc(0);

  /** `received` is everything that has arrived, earlier calls' bytes included. */
  read(received: Buffer): ClientHello | 'more' | 'other' {
    try {
      const message = this.message(received);
      if (message) return read(new Reader(message));
      return received.length < MOST ? 'more' : 'other';
    } catch (error) {
      if (error instanceof RangeError) return 'other';
      throw error;
    }
  }

  /** The body of the first handshake message once it is complete. Records may split it anywhere. */
  private message(received: Buffer): Buffer | undefined {
    while (this.at < received.length) {
      if (received[this.at] !== HANDSHAKE) throw new RangeError('not a handshake record');
      const start = this.at + RECORD_HEADER;
      if (received.length < start) break;
      const end = start + received.readUInt16BE(this.at + 3);
      if (end === start) throw new RangeError('a record without a body');
      if (this.bytes.length === 0 && received.length > start && received[start] !== CLIENT_HELLO) {
        throw new RangeError('not a ClientHello');
      }
      if (received.length < end) break;
      this.at = end;
      this.bytes = Buffer.concat([this.bytes, received.subarray(start, end)]);
      if (this.bytes.length < MESSAGE_HEADER) continue;
      const messageEnd = MESSAGE_HEADER + this.bytes.readUIntBE(1, 3);
      if (this.bytes.length >= messageEnd) return this.bytes.subarray(MESSAGE_HEADER, messageEnd);
    }
    return undefined;
  }
}

function read(hello: Reader): ClientHello {
  // Skips version and random, session id, cipher suites and compression methods.
  hello.take(34);
  hello.vector(1);
  hello.vector(2);
  hello.vector(1);
  let [serverName, alpn, schemes] = ['', [] as string[], [] as number[]];
  const extensions = hello.isAtEnd ? hello : hello.vector(2);
  while (!extensions.isAtEnd) {
    const type = extensions.number(2);
    const body = extensions.vector(2);
    if (type === SERVER_NAME) {
      const names = body.vector(2);
      // The list has one name; its only defined type is a host name.
      if (names.number(1) === 0) serverName = names.vector(2).text().toLowerCase();
    } else if (type === ALPN) {
      const protocols = body.vector(2);
      while (!protocols.isAtEnd) alpn.push(protocols.vector(1).text());
    } else if (type === SIGNATURE_ALGORITHMS) {
      const list = body.vector(2);
      while (!list.isAtEnd) schemes.push(list.number(2));
    }
  }
  // RFC 6066 permits no addresses here; a client that sends one has sent no name.
  if (isIP(serverName)) serverName = '';
  return { serverName, alpn, schemes };
}

/** Reads bytes from the front. Throws a RangeError at the end. */
class Reader {
  private at = 0;

  constructor(private readonly bytes: Buffer) {}

  get isAtEnd(): boolean {
    return this.at === this.bytes.length;
  }

  take(count: number): Buffer {
    const end = this.at + count;
    if (end > this.bytes.length) throw new RangeError('cut off');
    const taken = this.bytes.subarray(this.at, end);
    this.at = end;
    return taken;
  }

  number(width: number): number {
    return this.take(width).readUIntBE(0, width);
  }

  /** Reads a vector: its length in `width` bytes, then its bytes. */
  vector(width: number): Reader {
    return new Reader(this.take(this.number(width)));
  }

  text(): string {
    return this.bytes.toString();
  }
}
