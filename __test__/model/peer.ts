/** A client that costs little: thousands of them connect in every run. What it received is kept until it is taken. */
import { connect, type Socket } from 'node:net';
import { connect as secure } from 'node:tls';
import { pingFrame } from '../../src/protocol/frame.js';
import { readNodeKey } from '../../src/protocol/key.js';
import { FrameType, KEY_LENGTH, PEER_GONE_LENGTH, PEER_PRESENT_LENGTH } from '../../src/protocol/wire.js';
import { FrameCutter } from '../helpers/frame-cutter.js';
import { Changes } from '../helpers/wait.js';
import { type Actor, nameOf } from './cast.js';
import { type Label, labelOf } from './packet.js';
import type { Visit } from './steps.js';

/** Something that a client was sent. */
export type Receipt =
  | { readonly type: 'packet'; readonly source: string; readonly label: Label | undefined; readonly length: number }
  | { readonly type: 'gone'; readonly key: string; readonly reason: number }
  | { readonly type: 'present'; readonly key: string; readonly port: number; readonly about: string }
  /** What no client should be sent. */
  | { readonly type: 'odd'; readonly what: string };

export type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

export class Peer {
  /** Packets that came, over all. */
  packets = 0;
  /** Pings it has sent, over all. */
  pings = 0;
  over = false;
  readonly localPort: number;
  private receipts: Receipt[] = [];
  private readonly changes = new Changes();
  private readonly cutter = new FrameCutter((type, body) => this.onFrame(type, body));
  /** Frames before ServerInfo are part of the login. */
  private loggedIn = false;
  /** What is sent as soon as it has come, and the end behind it. */
  private visit: Buffer | undefined;
  private pongs = 0;

  private constructor(
    private readonly socket: Socket,
    private readonly transport: Socket,
  ) {
    this.localPort = transport.localPort as number;
    socket.on('data', (bytes: Buffer) => this.onBytes(bytes));
    for (const event of ['end', 'close'] as const) socket.on(event, () => this.onOver());
  }

  /** Connects and logs in. */
  static async connect(actor: Actor, port: number, tls?: TlsVersion): Promise<Peer> {
    const transport = connect({ host: '127.0.0.1', port, noDelay: true });
    const versions = { minVersion: tls, maxVersion: tls };
    const socket = tls ? secure({ socket: transport, rejectUnauthorized: false, ...versions }) : transport;
    socket.write(actor.hello);
    // A connection that fails is one that ends.
    for (const stream of [transport, socket]) stream.on('error', () => stream.destroy());
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? 'secureConnect' : 'connect', resolve);
      socket.once('close', () => reject(new Error('the connection could not be made')));
    });
    const peer = new Peer(socket, transport);
    await peer.until(() => peer.loggedIn, 'ServerInfo');
    return peer;
  }

  /** Connects, logs in, sends frames, and half-closes right behind them, as early as that; returns when all is over. */
  static async visit(actor: Actor, frames: Buffer, when: Visit, port: number, tls?: TlsVersion): Promise<Peer> {
    const transport = connect({ host: '127.0.0.1', port, noDelay: true });
    const versions = { minVersion: tls, maxVersion: tls };
    const socket = tls ? secure({ socket: transport, rejectUnauthorized: false, ...versions }) : transport;
    for (const stream of [transport, socket]) stream.on('error', () => stream.destroy());
    await new Promise<void>((resolve, reject) => {
      socket.once(tls ? 'secureConnect' : 'connect', resolve);
      socket.once('close', () => reject(new Error('the connection could not be made')));
    });
    const peer = new Peer(socket, transport);
    if (when === 'at ServerInfo') {
      peer.visit = frames;
      peer.write(actor.hello);
    } else {
      peer.write(Buffer.concat([actor.hello, frames]));
      socket.end();
    }
    await peer.ended();
    return peer;
  }

  /** Everything received since this was called last. */
  take(): Receipt[] {
    const { receipts } = this;
    this.receipts = [];
    return receipts;
  }

  write(bytes: Buffer): void {
    this.socket.write(bytes);
  }

  /** Writes, and resolves when the system has it. */
  async flush(bytes: Buffer): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  /** Sends a ping behind `before`, and waits for its answer: the relay has seen to all of it then. */
  async fence(before: readonly Buffer[] = []): Promise<void> {
    this.pings += 1;
    const number = Buffer.alloc(8);
    number.writeUInt32BE(this.pings);
    this.write(Buffer.concat([...before, pingFrame(number)]));
    await this.until(() => this.pongs === this.pings, `pong ${this.pings}`);
  }

  stopReading(): void {
    this.socket.pause();
  }

  goOnReading(): void {
    this.socket.resume();
  }

  /** Ends the connection: with a FIN while it still reads, at once, or with a reset. */
  close(how: 'end' | 'destroy' | 'reset'): void {
    if (how === 'end') this.socket.end();
    else if (how === 'destroy') this.socket.destroy();
    else this.transport.resetAndDestroy();
  }

  async ended(): Promise<void> {
    await this.changes.until(
      () => this.over || undefined,
      () => 'the end of the connection',
    );
  }

  private async until(check: () => boolean, what: string): Promise<void> {
    if (check()) return;
    await this.changes.until(
      () => {
        if (check()) return true;
        if (this.over) throw new Error(`the connection ended before ${what}`);
        return undefined;
      },
      () => what,
    );
  }

  private onOver(): void {
    this.over = true;
    this.socket.destroy();
    this.changes.notify();
  }

  private onBytes(bytes: Buffer): void {
    this.cutter.push(bytes);
    this.changes.notify();
  }

  private onFrame(type: number, body: Buffer): void {
    if (!this.loggedIn) {
      this.loggedIn = type === FrameType.ServerInfo;
      if (this.loggedIn && this.visit) this.socket.end(this.visit);
      if (type !== FrameType.ServerInfo && type !== FrameType.ServerKey) this.odd(type, body);
    } else if (type === FrameType.RecvPacket && body.length >= KEY_LENGTH) {
      this.onPacket(body);
    } else if (type === FrameType.Pong && body.length === 8 && body.readUInt32BE(0) === this.pongs + 1) {
      this.pongs += 1;
    } else if (type === FrameType.PeerGone && body.length === PEER_GONE_LENGTH) {
      const reason = body[KEY_LENGTH] as number;
      this.receipts.push({ type: 'gone', key: nameOf(readNodeKey(body)), reason });
    } else if (type === FrameType.PeerPresent && body.length >= PEER_PRESENT_LENGTH) {
      // Address, flags, and name: all but the port, which is another one on every relay.
      const about = body.toString('hex', KEY_LENGTH, KEY_LENGTH + 16) + body.toString('hex', KEY_LENGTH + 18);
      const port = body.readUInt16BE(KEY_LENGTH + 16);
      this.receipts.push({ type: 'present', key: nameOf(readNodeKey(body)), port, about });
    } else {
      this.odd(type, body);
    }
  }

  private onPacket(body: Buffer): void {
    this.packets += 1;
    try {
      const packet = body.subarray(KEY_LENGTH);
      const source = nameOf(readNodeKey(body));
      this.receipts.push({ type: 'packet', source, label: labelOf(packet), length: packet.length });
    } catch (error) {
      this.receipts.push({ type: 'odd', what: (error as Error).message });
    }
  }

  private odd(type: number, body: Buffer): void {
    this.receipts.push({ type: 'odd', what: `frame ${type}: ${body.toString('hex', 0, 48)}` });
  }
}
