/** Connections through a proxy that speaks SOCKS 5 (RFC 1928 and 1929): the command CONNECT alone, asked as Go asks it. */
import { once } from 'node:events';
import { connect, isIP, type Socket } from 'node:net';
import { addressBytes } from '../../protocol/frame.js';

/** Where a connection is to end. A name is resolved by the proxy. */
export interface Target {
  readonly host: string;
  readonly port: number;
}

/** How long a proxy may be silent, in milliseconds. */
const PATIENCE = 10_000;

const VERSION = 5;
const METHODS = { none: 0, password: 2 } as const;
const TYPES = { ipv4: 1, name: 3, ipv6: 4 } as const;
/** The replies of RFC 1928 §6, from 1 on. */
const REFUSALS = [
  'a failure of its own',
  'its rules do not allow that',
  'the network is unreachable',
  'the host is unreachable',
  'the connection is refused',
  'the packets have lived for too long',
  'it does not know the command CONNECT',
  'it does not know the kind of address',
];

export function isSocks({ protocol }: URL): boolean {
  return /^socks5h?:$/.test(protocol);
}

/** Resolves with a socket at whose other end the target is. */
export async function dialSocks(proxy: URL, target: Target, patience = PATIENCE): Promise<Socket> {
  const host = proxy.hostname.replace(/^\[|\]$/g, '');
  const socket = connect({ host, port: Number(proxy.port) || 1080 });
  const replies = new Replies(socket);
  const onTimeout = () => socket.destroy(new Error('the proxy does not answer'));
  socket.setTimeout(patience, onTimeout);
  try {
    await once(socket, 'connect');
    await greet(socket, proxy, replies);
    socket.write(Buffer.concat([Buffer.of(VERSION, 1, 0), encoded(target)]));
    await readReply(replies);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  replies.leave();
  socket.setTimeout(0).off('timeout', onTimeout);
  return socket;
}

/** What the proxy sends until the connection is made. */
class Replies {
  private held: Buffer = Buffer.alloc(0);
  private readonly over = new AbortController();
  private readonly onEnd = () => this.over.abort();

  constructor(private readonly socket: Socket) {
    socket.on('end', this.onEnd);
  }

  /** Exactly so many bytes. */
  async take(count: number): Promise<Buffer> {
    while (this.held.length < count) {
      // All that there is: with less taken than there is, Node would call without an end.
      const bytes = this.socket.read() as Buffer | null;
      if (bytes) this.held = Buffer.concat([this.held, bytes]);
      else await once(this.socket, 'readable', { signal: this.over.signal }).catch((error) => this.fail(error));
    }
    const taken = this.held.subarray(0, count);
    this.held = this.held.subarray(count);
    return taken;
  }

  /** What comes from here on is the target's. */
  leave(): void {
    this.socket.off('end', this.onEnd);
    this.socket.unshift(this.held);
  }

  private fail(error: unknown): never {
    throw this.over.signal.aborted ? new Error('the proxy closes the connection') : error;
  }
}

/** Negotiates the authentication method, and authenticates. */
async function greet(socket: Socket, proxy: URL, replies: Replies): Promise<void> {
  const user = Buffer.from(decodeURIComponent(proxy.username));
  const password = Buffer.from(decodeURIComponent(proxy.password));
  const hasUser = user.length + password.length > 0;
  const methods = hasUser ? [METHODS.none, METHODS.password] : [METHODS.none];
  socket.write(Buffer.of(VERSION, methods.length, ...methods));
  const [version, method] = await replies.take(2);
  if (version !== VERSION) throw new Error('what answers there is no proxy that speaks SOCKS 5');
  if (method === METHODS.none) return;
  if (method !== METHODS.password || !hasUser)
    throw new Error('the proxy wants another user, or another way to log in');
  if (user.length === 0 || user.length > 255 || password.length > 255) {
    throw new Error('the name of the proxy user is empty, or it or the password is longer than 255 bytes');
  }
  socket.write(Buffer.concat([Buffer.of(1, user.length), user, Buffer.of(password.length), password]));
  const [, status] = await replies.take(2);
  if (status !== 0) throw new Error('the proxy refuses the user or the password');
}

async function readReply(replies: Replies): Promise<void> {
  const [version, code = 0, , type] = await replies.take(4);
  if (version !== VERSION) throw new Error('the answer of the proxy is not SOCKS 5');
  if (code !== 0) throw new Error(`the proxy refuses the connection: ${REFUSALS[code - 1] ?? `reply ${code}`}`);
  // The address that the proxy connects from, which is not needed.
  const rest = type === TYPES.ipv4 ? 4 : type === TYPES.ipv6 ? 16 : ((await replies.take(1))[0] ?? 0);
  await replies.take(rest + 2);
}

/** The kind of an address, the address, and the port. */
function encoded({ host, port }: Target): Buffer {
  const name = Buffer.from(host);
  if (name.length > 255) throw new Error('the name of the host is longer than 255 bytes');
  const address = addressBytes(host);
  const number = Buffer.of(port >> 8, port & 0xff);
  if (!address) return Buffer.concat([Buffer.of(TYPES.name, name.length), name, number]);
  if (isIP(host) === 4) return Buffer.concat([Buffer.of(TYPES.ipv4), address.subarray(12), number]);
  return Buffer.concat([Buffer.of(TYPES.ipv6), address, number]);
}
