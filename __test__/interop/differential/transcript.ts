/** What a case writes down of a relay: every answer and frame, and how connections end. */

import { type NodeKey, nodeKeyHex } from '../../../src/protocol/key.js';
import { type ClientOptions, DerpClient, type Frame, upgradeRequest } from '../../helpers/client.js';
import { Wire } from '../../helpers/wire.js';
import type { Face, Faces } from './faces.ts';

export interface Case {
  readonly name: string;
  readonly face: Face;
  play(script: Script): Promise<void>;
}

export class Script {
  readonly lines: string[] = [];
  readonly #names = new Map<NodeKey, string>();
  readonly #pairs: [from: string | RegExp, to: string][] = [];

  constructor(
    readonly faces: Faces,
    readonly face: Face,
  ) {}

  /** Plays a case on one side, and returns what it has written. Only keys, ports and times are taken out. */
  static async play(faces: Faces, { face, play }: Case): Promise<readonly string[]> {
    const script = new Script(faces, face);
    const relay = await faces.relay(face);
    script.#pairs.push(
      [new RegExp(`:${relay.port}\\b`, 'g'), ':<port>'],
      [new RegExp(`:${relay.httpPort}\\b`, 'g'), ':<http port>'],
    );
    script.#pairs.push([/^(<.*\bDate: ).*$/, '$1<time>']);
    await play(script);
    return script.lines.map((line) =>
      script.#pairs.reduce((text, [from, to]) => text.replaceAll(global(from), to), line),
    );
  }

  note(line: string): void {
    this.lines.push(line);
  }

  async open(): Promise<Wire> {
    return Wire.open(await this.faces.target(this.face));
  }

  /** Sends one request as it stands, and writes down the answer and whether the connection is kept. */
  async ask(request: string, method = request.split(' ')[0] as string): Promise<void> {
    const wire = await this.open();
    wire.write(request);
    await this.answer(wire, method);
    await this.kept(wire);
    await wire.destroy();
  }

  /** Writes down one HTTP answer, `begun` being what was read of it, or that there is none. Returns its status. */
  async answer(wire: Wire, method = 'GET', begun = ''): Promise<number | undefined> {
    let head: string;
    try {
      head = begun + (await wire.takeThrough('\r\n\r\n')).toString('latin1');
    } catch {
      this.note(`no answer: ${JSON.stringify((await wire.rest()).toString('latin1'))}`);
      return undefined;
    }
    const [status = '', ...fields] = head.split('\r\n').filter((line) => line !== '');
    this.note(`< ${status}`);
    for (const field of fields) this.note(`< ${field}`);
    const code = Number(status.split(' ')[1]);
    const body = code < 200 || code === 204 || method === 'HEAD' ? '' : await bodyOf(wire, fields);
    for (const line of body === '' ? [] : body.split('\n')) this.note(`| ${line}`);
    return code;
  }

  /** Asks once more on the same connection: whether it is still there. */
  async kept(wire: Wire): Promise<void> {
    wire.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\nConnection: close\r\n\r\n');
    const again = await wire.takeThrough('\r\n').catch(() => undefined);
    this.note(again === undefined ? 'closed' : 'kept');
  }

  /** The key that this relay has, from the answer that shows it. */
  async serverKey(): Promise<NodeKey> {
    const wire = await this.open();
    wire.write(upgradeRequest());
    const head = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
    await wire.destroy();
    const hex = /^Derp-Public-Key: ([0-9a-f]{64})\r$/m.exec(head)?.[1];
    if (hex === undefined) throw new Error(`there is no key in ${head}`);
    this.#pairs.push([hex, '<server key>']);
    return Buffer.from(hex, 'hex').toString('latin1') as NodeKey;
  }

  /** Writes something else in place of what each side has its own of. */
  called(text: string, name: string): void {
    this.#pairs.push([text, name]);
  }

  /** Calls a key by a name from here on. */
  call(key: NodeKey, name: string): void {
    this.#names.set(key, name);
    this.#pairs.push([nodeKeyHex(key), `<${name}>`]);
  }

  /** A client that has sent nothing yet. */
  async dial(name: string, options: ClientOptions = {}): Promise<DerpClient> {
    const serverKey = await this.serverKey();
    this.call(serverKey, 'server key');
    const client = new DerpClient(await this.open(), serverKey, options);
    this.call(client.key, name);
    return client;
  }

  /** A client that is logged in. */
  async connect(name: string, options: ClientOptions = {}): Promise<DerpClient> {
    const client = await this.dial(name, options);
    await client.login();
    return client;
  }

  /** Sends frames, and writes down what comes of them: frames until the answer to a ping, or the end. */
  async send(client: DerpClient, ...frames: readonly Uint8Array[]): Promise<void> {
    client.send(...frames);
    await this.settle(client);
  }

  /** derper lets an answer to a ping overtake packets, but not twice. */
  async settle(client: DerpClient): Promise<void> {
    try {
      for (const frame of await client.fence()) this.frame(client, frame);
      for (const frame of await client.fence()) this.frame(client, frame);
    } catch {
      await this.untilEnd(client);
    }
  }

  /** Writes down the frames that come before the relay ends the connection. */
  async untilEnd(client: DerpClient): Promise<void> {
    await client.closed();
    for await (const frame of client) this.frame(client, frame);
    this.note(`${this.nameOf(client.key)}: closed`);
  }

  /** Writes down the next frame. */
  async next(client: DerpClient): Promise<void> {
    this.frame(client, await client.next());
  }

  frame(client: DerpClient, frame: Frame): void {
    // Other cases' clients come and go meanwhile.
    if ((frame.type === 'PeerPresent' || frame.type === 'PeerGone') && !this.#names.has(frame.key)) return;
    this.note(`${this.nameOf(client.key)} < ${this.describe(frame)}`);
  }

  private describe(frame: Frame): string {
    switch (frame.type) {
      case 'ServerKey':
        return `ServerKey ${this.nameOf(frame.key)}`;
      case 'ServerInfo':
        return `ServerInfo ${frame.json}`;
      case 'RecvPacket':
        return `RecvPacket from ${this.nameOf(frame.source)}: ${frame.packet.length} bytes, ${frame.packet.toString('latin1', 0, 64)}`;
      case 'PeerGone':
        return `PeerGone ${this.nameOf(frame.key)}, reason ${frame.reason}`;
      case 'PeerPresent':
        return `PeerPresent ${this.nameOf(frame.key)} at ${frame.ip}, flags ${frame.flags}, app ${JSON.stringify(frame.appName)}`;
      case 'Ping':
        return `Ping ${frame.data}`;
      case 'Pong':
        return `Pong ${frame.data}`;
      case 'KeepAlive':
        return 'KeepAlive';
      case 'Odd':
        return `type ${frame.code}: ${frame.body.toString('hex')}`;
    }
  }

  private nameOf(key: NodeKey): string {
    return this.#names.get(key) ?? nodeKeyHex(key);
  }
}

async function bodyOf(wire: Wire, fields: readonly string[]): Promise<string> {
  const value = (name: string) =>
    fields.find((field) => field.toLowerCase().startsWith(`${name}: `))?.slice(name.length + 2);
  const length = value('content-length');
  if (length !== undefined) return (await wire.take(Number(length))).toString('latin1');
  if (value('transfer-encoding') !== 'chunked') return (await wire.rest()).toString('latin1');
  let body = '';
  for (;;) {
    const size = Number.parseInt((await wire.takeThrough('\r\n')).toString('latin1'), 16);
    body += (await wire.take(size)).toString('latin1');
    await wire.take(2);
    if (size === 0) return body;
  }
}

function global(pattern: string | RegExp): string | RegExp {
  return typeof pattern === 'string' ? pattern : new RegExp(pattern.source, 'g');
}
