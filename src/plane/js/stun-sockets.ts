/** The UDP sockets of one STUN port. */
import { type BindOptions, createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { readFileSync, readlinkSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { listenError, unfit } from '../address.js';
import type { ListenSpec } from '../plane.js';

/** Milliseconds between looks at the local addresses. Node gets no notice of changes. */
const LOOK_EVERY = 5000;
/** Most sockets of a listener. Hosts of containers have hundreds of addresses, few of which get requests. */
const MOST_SOCKETS = 64;

export interface StunSocketEvents {
  onMessage(socket: Socket, message: Buffer, from: RemoteInfo): void;
  onError(): void;
}

/**
 * An answer must leave from the address that received the request, or firewalls and NATs drop it. Node does not report
 * that address, but the system delivers a datagram to the socket that is bound to exactly its address. So a listener
 * for all addresses has one socket for each local address, and one for the rest: new addresses, those beyond
 * {@link MOST_SOCKETS}, and those that no interface lists (127.0.0.9). Answers of that one leave from an address that
 * the system picks.
 */
export class StunSockets {
  /** Sockets by local address; the listener's own host is one of them. */
  private readonly sockets = new Map<string, Socket>();
  private following: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();
  private port = 0;
  private host: string;
  private closed = false;

  /** `addresses` returns the current addresses of this host. It may throw if the system cannot tell. */
  constructor(
    private readonly spec: ListenSpec,
    private readonly events: StunSocketEvents,
    private readonly addresses: () => readonly string[] = localAddresses,
  ) {
    this.host = spec.host;
  }

  /** Opens the sockets. Rejects with `ERR_LISTEN`. */
  async open(): Promise<{ address: string; port: number }> {
    const { fd } = this.spec;
    try {
      const socket = fd === undefined ? await this.openHost() : await this.take(fd);
      const { address, port } = socket.address();
      if (fd !== undefined) this.host = address;
      const { host } = this;
      this.sockets.set(host, socket);
      this.port = port;
      if (isEveryAddress(host)) {
        await this.look();
        this.following = setInterval(() => void this.look(), LOOK_EVERY).unref();
      }
      return { address, port };
    } catch (error) {
      throw listenError(this.spec, error as Error);
    }
  }

  /** Opens and closes sockets as local addresses change. One look at a time. */
  look(): Promise<void> {
    // The next look repeats what failed in this one.
    this.looking = this.looking.then(() => this.follow()).catch(() => this.events.onError());
    return this.looking;
  }

  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.following);
    await this.looking;
    await Promise.all([...this.sockets.values()].map(closeSocket));
    this.sockets.clear();
  }

  private async openHost(): Promise<Socket> {
    const { host, port } = this.spec;
    if (!isEveryAddress(host)) return this.bind(host, port, { reuseAddr: false });
    // `reuseAddr` would share the port with any program, another relay included. An exclusive bind first ensures that
    // it is free.
    const first = await this.bindEvery({ reuseAddr: false }, port);
    const taken = first.address().port;
    await closeSocket(first);
    return this.bindEvery({ reuseAddr: true }, taken);
  }

  /** A socket that another process has bound. */
  private async take(fd: number): Promise<Socket> {
    try {
      return await this.bound(createSocket(inheritedType(fd)), { fd });
    } catch (error) {
      throw unfit('is no UDP socket', error);
    }
  }

  private async bindEvery(options: { readonly reuseAddr: boolean }, port: number): Promise<Socket> {
    const { host } = this.spec;
    if (host !== '') return this.bind(host, port, options);
    return this.bind('::', port, options).catch((error: NodeJS.ErrnoException) => {
      // On a system without IPv6, IPv4 is everything.
      if (error.code !== 'EAFNOSUPPORT') throw error;
      return this.bind('0.0.0.0', port, options);
    });
  }

  private async follow(): Promise<void> {
    if (this.closed) return;
    let addresses: readonly string[];
    try {
      addresses = this.addresses();
    } catch {
      // The system has no descriptor for this, or never tells: the open sockets stay.
      return;
    }
    const { host } = this;
    const wanted = new Set(addresses.filter((one) => host !== '0.0.0.0' || !isIPv6(one)).slice(0, MOST_SOCKETS));
    for (const [address, socket] of [...this.sockets]) {
      if (address === host || wanted.has(address)) continue;
      this.sockets.delete(address);
      await closeSocket(socket);
    }
    for (const address of wanted) {
      if (this.closed || this.sockets.has(address)) continue;
      // The address may not be ready, or be gone again: the next look tries once more.
      const socket = await this.bind(address, this.port, { reuseAddr: true, ipv6Only: isIPv6(address) }).catch(
        () => undefined,
      );
      if (socket) this.sockets.set(address, socket);
    }
  }

  private bind(
    address: string,
    port: number,
    options: { readonly reuseAddr: boolean; readonly ipv6Only?: boolean },
  ): Promise<Socket> {
    return this.bound(createSocket({ type: isIPv6(address) ? 'udp6' : 'udp4', ...options }), { port, address });
  }

  private bound(socket: Socket, where: BindOptions): Promise<Socket> {
    return new Promise((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind(where, () => {
        socket.removeAllListeners('error');
        socket.on('error', () => this.events.onError());
        socket.on('message', (message, from) => this.events.onMessage(socket, message, from));
        resolve(socket);
      });
    });
  }
}

/**
 * The family of a socket that another process has bound, which Node has to know before it takes the socket. Only Linux
 * hands sockets over so; where its table does not list the socket, because it is of another network namespace, it is taken
 * for one of IPv6, as systemd makes them.
 */
function inheritedType(fd: number): 'udp4' | 'udp6' {
  const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1];
  const lists = (table: string) =>
    readFileSync(`/proc/self/net/${table}`, 'utf8')
      .split('\n')
      .some((line) => line.trim().split(/\s+/)[9] === inode);
  return inode !== undefined && !lists('udp6') && lists('udp') ? 'udp4' : 'udp6';
}

function isEveryAddress(host: string): boolean {
  return host === '' || host === '::' || host === '0.0.0.0';
}

/** Addresses of the interfaces; link-local ones have their zone. */
function localAddresses(): string[] {
  return Object.entries(networkInterfaces()).flatMap(([name, addresses = []]) =>
    addresses.map(({ address, family, scopeid }) => (family === 'IPv6' && scopeid ? `${address}%${name}` : address)),
  );
}

function closeSocket(socket: Socket): Promise<void> {
  return new Promise((resolve) => void socket.close(() => resolve()));
}
