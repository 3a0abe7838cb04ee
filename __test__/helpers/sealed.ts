/** A TLS client whose records can be held back, added to, and sent in one write. */
import { connect as connectTcp, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { Changes, eventually } from './wait.js';
import type { Target } from './wire.js';

/** A record of data that nobody has sealed. */
export const BAD_RECORD = Buffer.concat([Buffer.from('1703030030', 'hex'), Buffer.alloc(0x30, 0x5a)]);

/** The records of one client, between its TLS and its socket. */
export class SealedClient {
  readonly tls: TLSSocket;
  private readonly socket: Socket;
  private readonly transport: Duplex;
  private readonly changes = new Changes();
  private held: Buffer[] | undefined;
  private answer = '';
  private failure: Error | undefined;
  private isOver = false;

  private constructor({ host, port, tls }: Target) {
    const socket = connectTcp({ host, port, noDelay: true, allowHalfOpen: true });
    this.socket = socket;
    this.transport = new Duplex({
      read: () => void socket.resume(),
      write: (chunk: Buffer, _encoding, done) => {
        if (this.held) this.held.push(chunk);
        else socket.write(chunk);
        done();
      },
    });
    socket.on('data', (chunk) => this.transport.push(chunk));
    for (const event of ['end', 'close', 'error'] as const) socket.on(event, () => this.onOver());
    this.tls = connectTls({ ...tls, socket: this.transport, rejectUnauthorized: false });
    this.tls.on('data', (chunk: Buffer) => {
      this.answer += chunk.toString('latin1');
      this.changes.notify();
    });
    this.tls.on('error', (error) => {
      this.failure = error;
      this.changes.notify();
    });
    onTestFinished(() => {
      this.tls.destroy();
      socket.destroy();
    });
  }

  /** Rejects if the handshake fails. */
  static async open(target: Target): Promise<SealedClient> {
    const client = new SealedClient(target);
    await new Promise<void>((resolve, reject) => {
      client.tls.once('secureConnect', resolve);
      client.tls.once('error', reject);
    });
    return client;
  }

  /** The records of what `act` makes the client send, which are not sent. */
  async record(act: (tls: TLSSocket) => void): Promise<Buffer> {
    this.held = [];
    act(this.tls);
    await eventually(() => (this.held?.length ?? 0) > 0, 'a record');
    const records = Buffer.concat(this.held);
    this.held = undefined;
    return records;
  }

  /** The record of a fatal alert: that of a client that has been sent what nobody has sealed. */
  fatalAlert(): Promise<Buffer> {
    return this.record(() => this.transport.push(BAD_RECORD));
  }

  /** All of it in one write to the socket. */
  send(...records: readonly Buffer[]): void {
    this.socket.write(Buffer.concat(records));
  }

  /** The other side has ended the connection. Returns what it has said before. */
  async ended(): Promise<string> {
    await this.changes.until(
      () => this.isOver || undefined,
      () => 'the end of the connection',
    );
    return this.answer;
  }

  /** Why the client’s TLS has failed: for one, because it was sent an alert. */
  failed(): Promise<Error> {
    return this.changes.until(
      () => this.failure,
      () => 'an alert',
    );
  }

  private onOver(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.transport.push(null);
    this.changes.notify();
  }
}
