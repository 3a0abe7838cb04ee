/** A proxy that speaks SOCKS 5, as RFC 1928 and RFC 1929 have it, byte by byte; it remembers what it was asked for. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from './joined.js';

export interface SocksOptions {
  /** Whom it lets pass; everybody without it. */
  readonly credentials?: readonly [user: string, password: string];
  /** What it answers to CONNECT, if not that it has connected. */
  readonly refusal?: number;
  /** The type of the address in its answer: 1 is IPv4, 3 a name, 4 IPv6. */
  readonly bound?: 1 | 3 | 4;
  /** Where everything leads, whatever is asked for. */
  readonly leadsTo: () => number;
}

export class SocksProxy {
  /** The targets, `host:port`, as they were asked for. */
  readonly targets: string[] = [];
  /** The methods that each client has offered. */
  readonly methods: number[][] = [];
  private readonly sockets = new Set<Socket>();

  private constructor(
    private readonly server: Server,
    private readonly options: SocksOptions,
  ) {
    server.on('connection', (socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
      socket.on('error', () => {});
      void this.serve(socket).catch(() => socket.destroy());
    });
  }

  static async listen(options: SocksOptions): Promise<SocksProxy> {
    const server = createServer();
    const proxy = new SocksProxy(server, options);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(socket: Socket): Promise<void> {
    const take = taking(socket);
    const { credentials, refusal, bound = 1, leadsTo } = this.options;
    const [, count = 0] = await take(2);
    const methods = [...(await take(count))];
    this.methods.push(methods);
    const method = credentials ? 2 : 0;
    if (!methods.includes(method)) {
      socket.end(Buffer.of(5, 0xff));
      return;
    }
    socket.write(Buffer.of(5, method));
    if (credentials) {
      const [, userLength = 0] = await take(2);
      const user = (await take(userLength)).toString();
      const [passwordLength = 0] = await take(1);
      const password = (await take(passwordLength)).toString();
      const isRight = user === credentials[0] && password === credentials[1];
      socket.write(Buffer.of(1, isRight ? 0 : 1));
      if (!isRight) return;
    }
    const [, , , type = 0] = await take(4);
    const length = type === 3 ? ((await take(1))[0] ?? 0) : type === 4 ? 16 : 4;
    const host = hostOf(type, await take(length));
    this.targets.push(`${host}:${(await take(2)).readUInt16BE()}`);
    const addresses = { 1: Buffer.alloc(4), 3: Buffer.from('\x05bound'), 4: Buffer.alloc(16) };
    const answer = Buffer.concat([Buffer.of(5, refusal ?? 0, 0, bound), addresses[bound], Buffer.alloc(2)]);
    if (refusal !== undefined) {
      socket.end(answer);
      return;
    }
    const far = connect(leadsTo(), '127.0.0.1');
    far.on('error', () => socket.destroy());
    // In two pieces: no client may count on one.
    socket.write(answer.subarray(0, 3));
    await new Promise((resolve) => setImmediate(resolve));
    socket.write(answer.subarray(3));
    join(far, socket);
  }
}

function hostOf(type: number, bytes: Buffer): string {
  if (type === 3) return bytes.toString();
  if (type === 1) return bytes.join('.');
  return `[${bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:')}]`;
}

type Take = (count: number) => Promise<Buffer>;

/** Takes exactly so many bytes, one after the other. */
function taking(socket: Socket): Take {
  let held = Buffer.alloc(0);
  return async (count) => {
    while (held.length < count) {
      const bytes = socket.read() as Buffer | null;
      if (bytes) held = Buffer.concat([held, bytes]);
      else if (socket.readableEnded || socket.destroyed) throw new Error('the client has gone');
      else await Promise.race([once(socket, 'readable'), once(socket, 'end')]);
    }
    const taken = held.subarray(0, count);
    held = held.subarray(count);
    return taken;
  };
}
