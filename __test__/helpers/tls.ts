/** TLS from the outside, for those who want to break it. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { connect as connectTcp, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { connect } from 'node:tls';
import { Recorder } from './handshake.js';
import { eventually } from './wait.js';
import { type Target, Wire } from './wire.js';

const HEADER = 5;
/** One for each version. */
const SUITES = 'TLS_AES_128_GCM_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256';

export const HAS_OPENSSL = spawnSync('openssl', ['version']).status === 0;

/** A certificate with an RSA key, as PEM: a relay makes none of these; its operators have them. */
export function rsaPair(): { chain: string; key: string } {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-rsa-'));
  try {
    const [key, cert] = [join(directory, 'key'), join(directory, 'cert')];
    const made = ['-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=any.test', '-keyout', key, '-out', cert];
    execFileSync('openssl', ['req', '-x509', ...made], { stdio: 'ignore' });
    return { chain: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** The first record of a client, as Node makes it. */
export async function clientHello(servername?: string, maxVersion?: 'TLSv1.2'): Promise<Buffer> {
  const sent: Buffer[] = [];
  const transport = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      sent.push(chunk);
      done();
    },
  });
  const socket = connect({
    socket: transport,
    rejectUnauthorized: false,
    ...(servername && { servername }),
    ...(maxVersion && { maxVersion }),
  });
  socket.on('error', () => undefined);
  await eventually(() => sent.length > 0, 'a ClientHello');
  socket.destroy();
  return Buffer.concat(sent);
}

/** The same message in records of so many bytes each. */
export function inRecords(record: Buffer, length: number): Buffer {
  const records: Buffer[] = [];
  for (let at = HEADER; at < record.length; at += length) {
    const body = record.subarray(at, at + length);
    const header = Buffer.from(record.subarray(0, HEADER));
    header.writeUInt16BE(body.length, 3);
    records.push(header, body);
  }
  return Buffer.concat(records);
}

/** A TLS connection whose records can be looked at, and that can be broken. */
export class BreakableTls {
  private constructor(
    readonly wire: Wire,
    private readonly recorder: Recorder,
    private readonly socket: Socket,
    private readonly version: string,
  ) {}

  static async open({ host, port, tls }: Target, version: 'TLSv1.2' | 'TLSv1.3'): Promise<BreakableTls> {
    const socket = connectTcp({ host, port, noDelay: true });
    const recorder = new Recorder(socket);
    const options = { ...tls, minVersion: version, maxVersion: version, ciphers: SUITES };
    const stream = connect({ ...options, socket: recorder, rejectUnauthorized: false });
    await new Promise<void>((resolve, reject) => {
      stream.once('secureConnect', resolve);
      stream.once('error', reject);
    });
    return new BreakableTls(new Wire(stream, socket), recorder, socket, version);
  }

  /** Sends bytes as they are, beside what TLS sends. */
  inject(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Ends the way to the relay below TLS, without close_notify. */
  endBelow(): void {
    this.socket.end();
  }

  /** Waits until nothing more comes. */
  async over(): Promise<void> {
    await eventually(() => this.socket.readableEnded || this.socket.destroyed, 'the end of the connection');
  }

  /**
   * Whether the last record that came is an alert. Of TLS 1.3 the length says so: two bytes, their type, and a tag; no
   * frame of DERP is so short.
   */
  get endsWithAlert(): boolean {
    const bytes = Buffer.concat(this.recorder.received);
    let last: Buffer = Buffer.alloc(0);
    for (let at = 0; at + HEADER <= bytes.length; at += HEADER + bytes.readUInt16BE(at + 3)) {
      last = bytes.subarray(at, at + HEADER);
    }
    if (this.version === 'TLSv1.2') return last[0] === 21;
    return last[0] === 23 && last.readUInt16BE(3) === 2 + 1 + 16;
  }
}
