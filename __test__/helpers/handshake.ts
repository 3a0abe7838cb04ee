/**
 * The certificates that a server sends, as they are on the wire. Node shows only those that it can put into one row from
 * leaf to issuer, and the meta certificate is nobody's issuer.
 */
import { createDecipheriv, createHmac } from 'node:crypto';
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls } from 'node:tls';
import { type Target, Wire } from './wire.js';

const CHANGE_CIPHER_SPEC = 20;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const CERTIFICATE = 11;

/** DER, in the order sent. */
export async function servedChain(target: Target, version: 'TLSv1.2' | 'TLSv1.3'): Promise<Buffer[]> {
  const recorder = new Recorder(connectTcp({ host: target.host, port: target.port }));
  const socket = connectTls({
    ...target.tls,
    socket: recorder,
    rejectUnauthorized: false,
    minVersion: version,
    maxVersion: version,
    ciphers: version === 'TLSv1.3' ? 'TLS_AES_128_GCM_SHA256' : 'ECDHE-ECDSA-AES128-GCM-SHA256',
  });
  let secret: Buffer | undefined;
  socket.on('keylog', (line: Buffer) => {
    const [label, , value] = line.toString().trim().split(' ');
    if (label === 'SERVER_HANDSHAKE_TRAFFIC_SECRET') secret = Buffer.from(value as string, 'hex');
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  const wire = new Wire(socket);
  await wire.destroy();
  return certificates(handshakeBytes(Buffer.concat(recorder.received), secret), version === 'TLSv1.3');
}

/** A socket that keeps what it reads. */
export class Recorder extends Duplex {
  readonly received: Buffer[] = [];

  constructor(private readonly socket: Socket) {
    super();
    socket.on('data', (chunk: Buffer) => {
      this.received.push(chunk);
      if (!this.push(chunk)) socket.pause();
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (error) => this.destroy(error));
    socket.on('close', () => this.destroy());
  }

  override _read(): void {
    this.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.socket.destroy();
    done(error);
  }
}

/** The server's handshake messages; of TLS 1.3, decrypted with its handshake secret. */
function handshakeBytes(stream: Buffer, secret: Buffer | undefined): Buffer {
  const messages: Buffer[] = [];
  let sequence = 0;
  for (let at = 0; at + 5 <= stream.length; at += 5 + stream.readUInt16BE(at + 3)) {
    const header = stream.subarray(at, at + 5);
    const body = stream.subarray(at + 5, at + 5 + header.readUInt16BE(3));
    if (header[0] === HANDSHAKE) {
      messages.push(body);
    } else if (header[0] === APPLICATION_DATA && secret) {
      const plain = opened(header, body, secret, sequence);
      // The first record under another secret: the handshake is over.
      if (!plain) break;
      sequence += 1;
      const type = plain.findLastIndex((byte) => byte !== 0);
      if (plain[type] === HANDSHAKE) messages.push(plain.subarray(0, type));
    } else if (header[0] === CHANGE_CIPHER_SPEC && !secret) {
      break;
    }
  }
  return Buffer.concat(messages);
}

function opened(header: Buffer, body: Buffer, secret: Buffer, sequence: number): Buffer | undefined {
  const nonce = expandLabel(secret, 'iv', 12);
  nonce.writeUInt32BE((nonce.readUInt32BE(8) ^ sequence) >>> 0, 8);
  const decipher = createDecipheriv('aes-128-gcm', expandLabel(secret, 'key', 16), nonce);
  decipher.setAAD(header);
  decipher.setAuthTag(body.subarray(-16));
  try {
    return Buffer.concat([decipher.update(body.subarray(0, -16)), decipher.final()]);
  } catch {
    return undefined;
  }
}

/** HKDF-Expand-Label of RFC 8446, for lengths of one SHA-256 block at most. */
function expandLabel(secret: Buffer, label: string, length: number): Buffer {
  const name = `tls13 ${label}`;
  const info = Buffer.concat([Buffer.of(0, length, name.length), Buffer.from(name), Buffer.of(0, 1)]);
  return createHmac('sha256', secret).update(info).digest().subarray(0, length);
}

function certificates(messages: Buffer, withExtensions: boolean): Buffer[] {
  for (let at = 0; at + 4 <= messages.length; ) {
    const end = at + 4 + messages.readUIntBE(at + 1, 3);
    if (messages[at] === CERTIFICATE) return certificateList(messages.subarray(at + 4, end), withExtensions);
    at = end;
  }
  throw new Error('there is no Certificate message');
}

/** TLS 1.3 has a context before the list, and extensions behind every certificate. */
function certificateList(body: Buffer, withExtensions: boolean): Buffer[] {
  const list: Buffer[] = [];
  let at = withExtensions ? 1 + (body[0] as number) : 0;
  for (at += 3; at < body.length; ) {
    const end = at + 3 + body.readUIntBE(at, 3);
    list.push(body.subarray(at + 3, end));
    at = withExtensions ? end + 2 + body.readUInt16BE(end) : end;
  }
  return list;
}
