/**
 * A DERP client for tests. It cuts frames itself rather than with the relay's decoder, takes nothing that a real client
 * would not, and every wait of it has an end.
 */
import type { Duplex } from 'node:stream';
import {
  closePeerFrame,
  forwardPacketFrame,
  notePreferredFrame,
  type Presence,
  pingFrame,
  pongFrame,
  sendPacketFrame,
  WATCH_CONNS_FRAME,
} from '../../src/protocol/frame.js';
import { generateKeyPair, type KeyPair, type NodeKey, nodeKeyHex, readNodeKey } from '../../src/protocol/key.js';
import { openServerInfo, sealClientInfo } from '../../src/protocol/login.js';
import { DISCO_MAGIC, FrameType, KEY_LENGTH, MAGIC, MIN_DISCO_LENGTH } from '../../src/protocol/wire.js';
import { FrameCutter } from './frame-cutter.js';
import { Changes, PATIENCE } from './wait.js';
import { type Target, Wire } from './wire.js';

export type Frame =
  | { readonly type: 'ServerKey'; readonly key: NodeKey }
  | { readonly type: 'ServerInfo'; readonly json: string }
  | { readonly type: 'RecvPacket'; readonly source: NodeKey; readonly packet: Buffer }
  | { readonly type: 'KeepAlive' }
  | { readonly type: 'PeerGone'; readonly key: NodeKey; readonly reason: number }
  | ({ readonly type: 'PeerPresent' } & Omit<Presence, 'address'> & { readonly ip: string })
  | { readonly type: 'Ping'; readonly data: string }
  | { readonly type: 'Pong'; readonly data: string }
  /** Anything that is not exactly one of the above. */
  | { readonly type: 'Odd'; readonly code: number; readonly body: Buffer };
export type FrameOf<Type extends Frame['type']> = Extract<Frame, { type: Type }>;

export interface ClientOptions {
  /** TLS options of this connection, on a relay that has TLS. */
  readonly tls?: Target['tls'];
  readonly host?: string;
  /** The address to come from. */
  readonly from?: string;
  /**
   * `fast`: ClientInfo goes with the request, no HTTP answer is expected. `switch`: waits for the 101 and the greeting.
   * `none`: there is no HTTP at all, as on an attached stream.
   */
  readonly start?: 'fast' | 'switch' | 'none';
  /** The Upgrade header. */
  readonly upgrade?: string;
  readonly keys?: KeyPair;
  /** The ClientInfo, as an object or as text. */
  readonly info?: Record<string, unknown> | string;
  readonly meshKey?: string;
  readonly prober?: boolean;
  readonly appName?: string;
  readonly idealNode?: string;
}

let pings = 0;

/** A relay, as its clients see it. */
export interface Reachable {
  readonly keys: Pick<KeyPair, 'publicKey'>;
  /** Where it is to be reached, with TLS if there are options for it. */
  target(tls?: Target['tls']): Target;
}

export class DerpClient implements AsyncIterable<Frame> {
  readonly keys: KeyPair;
  private readonly frames: Frame[] = [];
  private readonly changes = new Changes();
  private readonly cutter = new FrameCutter((type, body) => this.onFrame(type, body));
  /** Packets go here instead of into the row of frames, if set: for counting many of them. */
  onPacket: ((source: NodeKey, packet: Buffer) => void) | undefined;

  constructor(
    readonly wire: Wire,
    private readonly serverKey: NodeKey,
    private readonly options: ClientOptions = {},
  ) {
    this.keys = options.keys ?? generateKeyPair();
  }

  /** Connects and logs in: the next frame is whatever comes after ServerInfo. */
  static async connect(relay: Reachable, options: ClientOptions = {}): Promise<DerpClient> {
    const client = await DerpClient.dial(relay, options);
    await client.login();
    return client;
  }

  /** Connects, and sends nothing yet. */
  static async dial(relay: Reachable, options: ClientOptions = {}): Promise<DerpClient> {
    const target = relay.target(options.tls);
    const wire = await Wire.open({ ...target, ...(options.host && { host: options.host }), from: options.from });
    return new DerpClient(wire, relay.keys.publicKey, options);
  }

  /** Logs in over a stream that leads to a plane's `attach`. */
  static async over(stream: Duplex, relay: Reachable, options: ClientOptions = {}): Promise<DerpClient> {
    const client = new DerpClient(new Wire(stream), relay.keys.publicKey, { ...options, start: 'none' });
    await client.login();
    return client;
  }

  get key(): NodeKey {
    return this.keys.publicKey;
  }

  /** The request of this client's options. */
  get head(): string {
    const { start = 'fast', upgrade, idealNode } = this.options;
    return upgradeRequest({
      ...(upgrade !== undefined && { Upgrade: upgrade }),
      ...(start === 'fast' && { 'Derp-Fast-Start': '1' }),
      ...(idealNode !== undefined && { 'Ideal-Node': idealNode }),
    });
  }

  /** The ClientInfo frame of this client's options. */
  get clientInfo(): Buffer {
    return sealClientInfo(this.keys, this.serverKey, this.infoText());
  }

  /** Sends request and ClientInfo, and `more` in the same write; returns after ServerInfo. */
  async login(...more: readonly Uint8Array[]): Promise<void> {
    const { start = 'fast' } = this.options;
    if (start === 'fast') {
      this.wire.write(this.head, this.clientInfo, ...more);
    } else if (start === 'switch') {
      this.wire.write(this.head);
      const answer = (await this.wire.takeThrough('\r\n\r\n')).toString('latin1');
      if (!answer.startsWith('HTTP/1.1 101 ')) throw new Error(`the upgrade was answered with ${answer}`);
    }
    this.readFrames();
    const greeting = await this.expect('ServerKey');
    if (greeting.key !== this.serverKey) throw new Error('the greeting has a key that is not the relay’s');
    if (start !== 'fast') this.wire.write(this.clientInfo, ...more);
    const { json } = await this.expect('ServerInfo');
    if (json !== '{"version":2}') throw new Error(`the ServerInfo says ${json}`);
  }

  /** From here on everything that comes is frames. */
  readFrames(): void {
    this.wire.pipe(
      (bytes) => this.onBytes(bytes),
      () => this.changes.notify(),
    );
  }

  send(...frames: readonly Uint8Array[]): void {
    this.wire.write(...frames);
  }

  sendPacket(destination: NodeKey, packet: Uint8Array | string): void {
    this.send(sendPacketFrame(destination, Buffer.from(packet as Uint8Array)));
  }

  forwardPacket(source: NodeKey, destination: NodeKey, packet: Uint8Array | string): void {
    this.send(forwardPacketFrame(source, destination, Buffer.from(packet as Uint8Array)));
  }

  notePreferred(home: boolean): void {
    this.send(notePreferredFrame(home));
  }

  watch(): void {
    this.send(WATCH_CONNS_FRAME);
  }

  closePeer(target: NodeKey): void {
    this.send(closePeerFrame(target));
  }

  ping(data: Uint8Array): void {
    this.send(pingFrame(data));
  }

  pong(data: Uint8Array): void {
    this.send(pongFrame(data));
  }

  /** The next frame, whatever it is. */
  next(patience = PATIENCE): Promise<Frame> {
    return this.changes.until(
      () => {
        const frame = this.frames.shift();
        if (!frame && this.wire.isOver) throw new Error('the connection is over, no frame is left');
        return frame;
      },
      () => 'a frame',
      patience,
    );
  }

  /** The next frame, which has to be of this type. */
  async expect<Type extends Frame['type']>(type: Type, patience = PATIENCE): Promise<FrameOf<Type>> {
    const frame = await this.next(patience).catch((cause: Error) => {
      throw new Error(`no ${type}: ${cause.message}`, { cause });
    });
    if (frame.type !== type) throw new Error(`a ${type} should have come, not ${describeFrame(frame)}`);
    return frame as FrameOf<Type>;
  }

  /** The next frame, which has to be a packet with this text. Returns its source. */
  async expectPacket(text: string, patience = PATIENCE): Promise<NodeKey> {
    const { source, packet } = await this.expect('RecvPacket', patience);
    if (packet.toString() !== text) throw new Error(`the packet ${text} should have come, not ${packet}`);
    return source;
  }

  /**
   * Everything that comes before the answer to a ping sent now. Frames of this client have been acted on then, and what
   * the relay had for it is here: that is how a test knows that something does not come.
   */
  async fence(patience = PATIENCE): Promise<Frame[]> {
    const data = Buffer.alloc(8);
    pings += 1;
    data.writeUInt32BE(pings, 4);
    this.ping(data);
    const before: Frame[] = [];
    for (;;) {
      const frame = await this.next(patience);
      if (frame.type === 'Pong' && frame.data === data.toString('hex')) return before;
      before.push(frame);
    }
  }

  /** Waits until the relay has ended the connection. What came before stays to be read. */
  async closed(patience = PATIENCE): Promise<void> {
    await this.wire.ended(patience);
  }

  /** Ends the connection, as a client does that has no more use for it. */
  async close(): Promise<void> {
    await this.wire.destroy();
  }

  /** Frames until the connection ends. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Frame, void, undefined> {
    while (this.frames.length > 0 || !this.wire.isOver) yield await this.next();
  }

  private infoText(): string {
    const { info, meshKey, prober, appName } = this.options;
    if (typeof info === 'string') return info;
    return JSON.stringify({
      version: 2,
      CanAckPings: true,
      ...(meshKey !== undefined && { meshKey }),
      ...(prober && { IsProber: true }),
      ...(appName !== undefined && { AppName: appName }),
      ...info,
    });
  }

  private onBytes(bytes: Buffer): void {
    this.cutter.push(bytes);
    this.changes.notify();
  }

  private onFrame(code: number, body: Buffer): void {
    const frame = this.parse(code, body) ?? { type: 'Odd', code, body };
    if (frame.type === 'RecvPacket' && this.onPacket) this.onPacket(frame.source, frame.packet);
    else this.frames.push(frame);
  }

  private parse(code: number, body: Buffer): Frame | undefined {
    switch (code) {
      case FrameType.ServerKey:
        if (body.length !== MAGIC.length + KEY_LENGTH || !body.subarray(0, MAGIC.length).equals(MAGIC))
          return undefined;
        return { type: 'ServerKey', key: readNodeKey(body, MAGIC.length) };
      case FrameType.ServerInfo: {
        const json = openServerInfo(body, this.keys, this.serverKey);
        return json === undefined ? undefined : { type: 'ServerInfo', json };
      }
      case FrameType.RecvPacket:
        if (body.length < KEY_LENGTH) return undefined;
        return { type: 'RecvPacket', source: readNodeKey(body), packet: body.subarray(KEY_LENGTH) };
      case FrameType.KeepAlive:
        return body.length === 0 ? { type: 'KeepAlive' } : undefined;
      case FrameType.PeerGone:
        if (body.length !== KEY_LENGTH + 1) return undefined;
        return { type: 'PeerGone', key: readNodeKey(body), reason: body[KEY_LENGTH] as number };
      case FrameType.PeerPresent:
        return presence(body);
      case FrameType.Ping:
        return body.length === 8 ? { type: 'Ping', data: body.toString('hex') } : undefined;
      case FrameType.Pong:
        return body.length === 8 ? { type: 'Pong', data: body.toString('hex') } : undefined;
      default:
        return undefined;
    }
  }
}

/** A request for raw DERP as Go's client makes it; a header that is given replaces its own, an empty one removes it. */
export function upgradeRequest(headers: Record<string, string> = {}, requestLine = 'GET /derp HTTP/1.1'): string {
  const all = {
    Host: 'relay.test',
    'User-Agent': 'Go-http-client/1.1',
    Connection: 'Upgrade',
    Upgrade: 'DERP',
    ...headers,
  };
  const lines = Object.entries(all).filter(([, value]) => value !== '');
  return `${[requestLine, ...lines.map(([name, value]) => `${name}: ${value}`)].join('\r\n')}\r\n\r\n`;
}

/** A packet that looks like discovery. `mark` tells one from another. */
export function discoPacket(mark = 0, length: number = MIN_DISCO_LENGTH): Buffer {
  const packet = Buffer.alloc(length, mark);
  packet.set(DISCO_MAGIC);
  return packet;
}

/** For messages: what a frame is, without all of its bytes. */
export function describeFrame(frame: Frame): string {
  switch (frame.type) {
    case 'RecvPacket':
      return `a RecvPacket of ${frame.packet.length} bytes from ${nodeKeyHex(frame.source).slice(0, 8)}`;
    case 'PeerGone':
      return `a PeerGone of ${nodeKeyHex(frame.key).slice(0, 8)} for reason ${frame.reason}`;
    case 'PeerPresent':
      return `a PeerPresent of ${nodeKeyHex(frame.key).slice(0, 8)}`;
    case 'Odd':
      return `a frame of type ${frame.code} with ${frame.body.toString('hex', 0, 64)}`;
    default:
      return `a ${frame.type}`;
  }
}

/** 32 B key, 16 B IP, 2 B port, 1 B flags, 1 B length of the name, name. */
function presence(body: Buffer): Frame | undefined {
  const nameLength = body[51];
  if (nameLength === undefined || body.length !== 52 + nameLength) return undefined;
  return {
    type: 'PeerPresent',
    key: readNodeKey(body),
    ip: body.toString('hex', 32, 48),
    port: body.readUInt16BE(48),
    flags: body[50] as number,
    appName: body.toString('latin1', 52),
  };
}
