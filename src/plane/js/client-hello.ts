/** Reads of a ClientHello what a certificate is chosen by, before OpenSSL has it: it would ask too late, and for too little. */
import { isIP } from 'node:net';

export interface ClientHello {
  /** In lower case; empty if there is none. */
  readonly serverName: string;
  readonly alpn: readonly string[];
  /** Signature schemes that the client can verify. */
  readonly schemes: readonly number[];
}

/** A ClientHello of any client in use is below 4 KiB. */
const MOST = 16 << 10;

const HANDSHAKE = 22;
const RECORD_HEADER = 5;
/** Type 1, length of the body 3. */
const MESSAGE_HEADER = 4;
const CLIENT_HELLO = 1;

const SERVER_NAME = 0;
const SIGNATURE_ALGORITHMS = 13;
const ALPN = 16;

/** `other` is what only OpenSSL can say something about: it is no ClientHello, or too long, or broken. */
export function readClientHello(received: Buffer): ClientHello | 'more' | 'other' {
  return new HelloReader().read(received);
}

/** The same for bytes that come in pieces: each record is looked at once, however many there are and however late they come. */
export class HelloReader {
  /** Where the first record begins that is not whole yet. */
  private at = 0;
  /** What the records before it bring of the message. */
  private bytes: Buffer = Buffer.alloc(0);

  /** `received` is all that has come, with what was handed in before in front. */
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

  /** The body of the first message of the handshake, if it has come: records may cut it anywhere. */
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
  // Version and random; session, suites, compression methods.
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
      // One name of the only type there is: a host's.
      if (names.number(1) === 0) serverName = names.vector(2).text().toLowerCase();
    } else if (type === ALPN) {
      const protocols = body.vector(2);
      while (!protocols.isAtEnd) alpn.push(protocols.vector(1).text());
    } else if (type === SIGNATURE_ALGORITHMS) {
      const list = body.vector(2);
      while (!list.isAtEnd) schemes.push(list.number(2));
    }
  }
  // Addresses have no place there; who sends one has named nobody.
  if (isIP(serverName)) serverName = '';
  return { serverName, alpn, schemes };
}

/** Bytes, read from the front. Throws a RangeError where there are none left. */
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

  /** Bytes behind their length, which has so many bytes. */
  vector(width: number): Reader {
    return new Reader(this.take(this.number(width)));
  }

  text(): string {
    return this.bytes.toString();
  }
}
