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
  try {
    const message = firstMessage(received);
    if (message) return read(new Reader(message));
    return received.length < MOST ? 'more' : 'other';
  } catch (error) {
    if (error instanceof RangeError) return 'other';
    throw error;
  }
}

/** The body of the first message of the handshake, if it has come: records may cut it anywhere. */
function firstMessage(received: Buffer): Buffer | undefined {
  let bytes: Buffer = Buffer.alloc(0);
  for (let at = 0; at < received.length; ) {
    if (received[at] !== HANDSHAKE) throw new RangeError('not a handshake record');
    if (received.length < at + RECORD_HEADER) break;
    const end = at + RECORD_HEADER + received.readUInt16BE(at + 3);
    bytes = Buffer.concat([bytes, received.subarray(at + RECORD_HEADER, end)]);
    if (bytes.length > 0 && bytes[0] !== CLIENT_HELLO) throw new RangeError('not a ClientHello');
    const body = bytes.subarray(MESSAGE_HEADER);
    if (bytes.length >= MESSAGE_HEADER && body.length >= bytes.readUIntBE(1, 3)) {
      return body.subarray(0, bytes.readUIntBE(1, 3));
    }
    at = end;
  }
  return undefined;
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
