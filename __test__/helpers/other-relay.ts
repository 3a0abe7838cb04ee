/** The relay at the other end of a link, as far as a test wants to play it: it says what it is told to, when it is told to. */
import { createServer as createTcpServer, type Server } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { onTestFinished } from 'vitest';
import { serverKeyFrame } from '../../src/protocol/frame.js';
import { generateKeyPair, type KeyPair } from '../../src/protocol/key.js';
import { type OpenedLogin, openClientInfo, sealServerInfo } from '../../src/protocol/login.js';
import { switchingProtocols } from '../../src/protocol/upgrade.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';
import { ownCertificate } from './relay.js';
import { Changes } from './wait.js';
import { Wire } from './wire.js';

export class OtherRelay {
  readonly keys: KeyPair = generateKeyPair();
  port = 0;
  private readonly server: Server;
  private readonly arrived: OtherEnd[] = [];
  private readonly changes = new Changes();

  private constructor(tls: boolean, pair = ownCertificate()) {
    this.server = tls ? createTlsServer({ cert: pair.chain, key: pair.key }) : createTcpServer({ noDelay: true });
    this.server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      this.arrived.push(new OtherEnd(new Wire(socket), this.keys));
      this.changes.notify();
    });
  }

  static async start(tls = true, pair = ownCertificate()): Promise<OtherRelay> {
    const other = new OtherRelay(tls, pair);
    await new Promise<void>((resolve, reject) => {
      other.server.once('error', reject);
      other.server.listen(0, '127.0.0.1', resolve);
    });
    other.port = (other.server.address() as { port: number }).port;
    onTestFinished(() => void other.server.close());
    return other;
  }

  /** The next connection to it that is there, or comes. */
  next(): Promise<OtherEnd> {
    return this.changes.until(
      () => this.arrived.shift(),
      () => 'a connection to the other relay',
    );
  }

  /** How many connections nobody has asked for yet. */
  get waiting(): number {
    return this.arrived.length;
  }

  /** The next connection, which has logged in and watches, unless it is not to. */
  async linked(watch = true): Promise<OtherEnd> {
    const end = await this.next();
    await end.login(watch);
    return end;
  }
}

export class OtherEnd {
  constructor(
    readonly wire: Wire,
    private readonly keys: KeyPair,
  ) {}

  /** Plays the login through, up to WatchConns if there is to be one. Returns what the dialling relay has said of itself. */
  async login(watch = true): Promise<OpenedLogin & { readonly request: string }> {
    const request = (await this.wire.takeThrough('\r\n\r\n')).toString('latin1');
    this.wire.write(switchingProtocols(this.keys.publicKey), serverKeyFrame(this.keys.publicKey));
    return { ...(await this.finishLogin(watch)), request };
  }

  /** The same from behind the greeting on. */
  async finishLogin(watch = true): Promise<OpenedLogin> {
    const info = await this.frame();
    if (info.type !== FrameType.ClientInfo) throw new Error(`the first frame has type ${info.type}`);
    const login = openClientInfo(info.body, this.keys.privateKey);
    this.wire.write(sealServerInfo(login.sharedKey));
    if (!watch) return login;
    const second = await this.frame();
    if (second.type !== FrameType.WatchConns) throw new Error(`the second frame has type ${second.type}`);
    return login;
  }

  send(...frames: readonly Uint8Array[]): void {
    this.wire.write(...frames);
  }

  /** The next frame that the dialling relay sends. */
  async frame(patience?: number): Promise<{ readonly type: number; readonly body: Buffer }> {
    const header = await this.wire.take(HEADER_LENGTH, patience);
    return { type: header[0] as number, body: await this.wire.take(header.readUInt32BE(1), patience) };
  }
}
