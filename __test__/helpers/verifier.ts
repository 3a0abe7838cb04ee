/** What stands in for a verifier: a server that is told, byte by byte, what to answer, and remembers what it was asked. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

/** One request, as it came. */
export interface Asked {
  readonly method: string;
  readonly target: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers a request, or does not. What it throws ends the connection. */
export type Say = (asked: Asked, socket: Socket) => void | Promise<void>;

export class TestVerifier {
  readonly asked: Asked[] = [];
  /** Connections that were made. */
  connections = 0;
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    public say: Say,
  ) {
    server.on('connection', (socket) => {
      this.connections += 1;
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => {});
      void this.serve(socket).catch(() => socket.destroy());
    });
  }

  /** On loopback, or at the path of a Unix socket. */
  static async listen(say: Say, path?: string): Promise<TestVerifier> {
    const server = createServer();
    const verifier = new TestVerifier(server, say);
    await once(path === undefined ? server.listen(0, '127.0.0.1') : server.listen(path), 'listening');
    return verifier;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/verify`;
  }

  /** The keys that it was asked about. */
  get keys(): string[] {
    return this.asked.flatMap(({ target, body }) => /nodekey(?::|%3A)[0-9a-f]{64}/.exec(`${target}${body}`) ?? []);
  }

  /** Ends the connections, which a client may keep. */
  hangUp(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.hangUp();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(socket: Socket): Promise<void> {
    let text = '';
    for await (const chunk of socket) {
      text += (chunk as Buffer).toString('latin1');
      for (let request = take(text); request; request = take(text)) {
        text = text.slice(request.length);
        this.asked.push(request.asked);
        await this.say(request.asked, socket);
      }
    }
  }
}

function take(text: string): { readonly asked: Asked; readonly length: number } | undefined {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return undefined;
  const [line = '', ...fields] = text.slice(0, end).split('\r\n');
  const [method = '', target = ''] = line.split(' ');
  const headers = Object.fromEntries(
    fields.map((field) => [
      field.slice(0, field.indexOf(':')).toLowerCase(),
      field.slice(field.indexOf(':') + 1).trim(),
    ]),
  );
  const length = end + 4 + Number(headers['content-length'] ?? 0);
  if (text.length < length) return undefined;
  return { asked: { method, target, headers, body: text.slice(end + 4, length) }, length };
}

/** An answer with this body. */
export function reply(status: string, body = '', headers: Readonly<Record<string, string>> = {}): Say {
  const fields = { 'Content-Length': String(Buffer.byteLength(body)), ...headers };
  const lines = Object.entries(fields).map(([name, value]) => `${name}: ${value}\r\n`);
  return bytes(`HTTP/1.1 ${status}\r\n${lines.join('')}\r\n${body}`);
}

/** Whatever bytes; with `end` the connection ends behind them. */
export function bytes(text: string, end = false): Say {
  return (_asked, socket) => {
    if (end) socket.end(text);
    else socket.write(text);
  };
}

/** Nothing, ever. */
export const silence: Say = () => {};

/** The connection ends without a word. */
export const hangUp: Say = (_asked, socket) => {
  socket.destroy();
};

export const ALLOW = reply('200 OK', '{"Allow":true}');
export const DENY = reply('200 OK', '{"Allow":false}');

/** A tailscaled that knows these nodes, `nodekey:<hex>`. */
export function tailscaled(known: ReadonlySet<string>, state = 'Running', self = ''): Say {
  const headers = { 'Tailscale-Version': '1.104.5' };
  return (asked, socket) => {
    if (asked.target.startsWith('/localapi/v0/status')) {
      const status = { BackendState: state, Self: { PublicKey: self } };
      return reply('200 OK', JSON.stringify(status), headers)(asked, socket);
    }
    const key = decodeURIComponent(asked.target.split('addr=')[1] ?? '');
    const knows = known.has(key) || key === self;
    const say = knows
      ? reply('200 OK', '{"Node":{}}', headers)
      : reply('404 Not Found', 'no match for IP:port\n', headers);
    return say(asked, socket);
  };
}
