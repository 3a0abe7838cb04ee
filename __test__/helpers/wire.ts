/** One connection as bytes: what a test writes and reads below any protocol. */
import { connect as connectTcp, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { onTestFinished } from 'vitest';
import { Changes, PATIENCE, turn } from './wait.js';

/** Where to connect to. `tls` absent is plain TCP. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** The address to come from, if not the system's choice. */
  readonly from?: string | undefined;
  readonly tls?: ConnectionOptions | undefined;
}

export class Wire {
  private readonly changes = new Changes();
  private bytes: Buffer = Buffer.alloc(0);
  private over: 'ended' | 'closed' | undefined;
  /** Takes bytes as they come; until it is set they are kept. */
  private sink: ((bytes: Buffer) => void) | undefined;
  private sinkEnded: (() => void) | undefined;

  /** The connection ends with the test, if not before. */
  constructor(
    readonly stream: Duplex,
    private readonly transport = stream,
  ) {
    stream.on('data', (chunk: Buffer) => this.onData(chunk));
    stream.on('end', () => this.onOver('ended'));
    stream.on('close', () => this.onOver('closed'));
    stream.on('error', () => this.onOver('closed'));
    onTestFinished(() => void stream.destroy());
  }

  /** Rejects if TCP or the handshake is refused. */
  static async open({ host, port, from, tls }: Target): Promise<Wire> {
    const transport = connectTcp({ host, port, noDelay: true, ...(from && { localAddress: from }) });
    // A failure of the one is told by the other.
    if (tls) transport.on('error', () => undefined);
    const stream = tls ? connectTls({ socket: transport, rejectUnauthorized: false, ...tls }) : transport;
    await new Promise<void>((resolve, reject) => {
      stream.once('error', reject);
      stream.once('close', () => reject(new Error('closed before it was open')));
      stream.once(tls ? 'secureConnect' : 'connect', resolve);
    });
    return new Wire(stream, transport);
  }

  /** Whether the other side has said that it sends no more, or the connection is gone. */
  get isOver(): boolean {
    return this.over !== undefined;
  }

  get localPort(): number {
    return (this.stream as Socket).localPort as number;
  }

  get tlsSocket(): TLSSocket {
    return this.stream as TLSSocket;
  }

  /** All parts in one write. */
  write(...parts: readonly (Uint8Array | string)[]): void {
    this.stream.write(Buffer.concat(parts.map((part) => Buffer.from(part as Uint8Array))));
  }

  /** The bytes cut at some offsets, each piece in a segment (and a TLS record) of its own. */
  async writeSplit(bytes: Buffer, ...cuts: readonly number[]): Promise<void> {
    let from = 0;
    for (const to of [...cuts, bytes.length]) {
      if (to > from) this.stream.write(bytes.subarray(from, to));
      from = to;
      await turn();
    }
  }

  /** Resolves when the system has taken everything written. */
  async flushed(): Promise<void> {
    await new Promise<void>((resolve) => this.stream.write('', () => resolve()));
  }

  /** Exactly the next `count` bytes. */
  take(count: number, patience = PATIENCE): Promise<Buffer> {
    return this.wait(
      () => (this.bytes.length >= count ? this.cut(count) : undefined),
      () => `${count} bytes`,
      patience,
    );
  }

  /** Everything up to and with `end`. */
  takeThrough(end: string): Promise<Buffer> {
    const cut = () => {
      const at = this.bytes.indexOf(end);
      return at < 0 ? undefined : this.cut(at + end.length);
    };
    return this.wait(cut, () => JSON.stringify(end));
  }

  /** What comes until the other side ends the connection. */
  async rest(patience = PATIENCE): Promise<Buffer> {
    await this.ended(patience);
    return this.cut(this.bytes.length);
  }

  async ended(patience = PATIENCE): Promise<void> {
    await this.changes.until(
      () => this.over,
      () => 'the end of the connection',
      patience,
    );
  }

  /** Hands over all further bytes, and those that are here; says when there are no more. */
  pipe(sink: (bytes: Buffer) => void, ended: () => void): void {
    this.sink = sink;
    this.sinkEnded = ended;
    if (this.bytes.length > 0) sink(this.cut(this.bytes.length));
  }

  stopReading(): void {
    this.stream.pause();
  }

  goOnReading(): void {
    this.stream.resume();
  }

  /** Says that nothing more will be sent, and reads on. */
  end(): void {
    this.stream.end();
  }

  async destroy(): Promise<void> {
    this.stream.destroy();
    if (!this.stream.closed) await new Promise<void>((resolve) => this.stream.once('close', () => resolve()));
  }

  /** Ends a TCP connection with a reset. */
  reset(): void {
    (this.transport as Socket).resetAndDestroy();
  }

  private onData(chunk: Buffer): void {
    if (this.sink) this.sink(chunk);
    else this.bytes = this.bytes.length === 0 ? chunk : Buffer.concat([this.bytes, chunk]);
    this.changes.notify();
  }

  private onOver(how: 'ended' | 'closed'): void {
    this.over = how;
    this.changes.notify();
    this.sinkEnded?.();
  }

  private cut(count: number): Buffer {
    const taken = this.bytes.subarray(0, count);
    this.bytes = this.bytes.subarray(count);
    return taken;
  }

  private wait<T>(check: () => T | undefined, what: () => string, patience = PATIENCE): Promise<T> {
    const seen = () =>
      `${what()}; ${this.over ?? 'open'}, with ${JSON.stringify(this.bytes.toString('latin1', 0, 200))}`;
    return this.changes.until(
      () => {
        const value = check();
        if (value === undefined && this.over) throw new Error(`the connection is over, without ${seen()}`);
        return value;
      },
      seen,
      patience,
    );
  }
}
