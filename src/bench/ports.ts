/** Ports for programs that have to be told which one to listen on. */
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';

/**
 * Below the range that systems take the ports of outgoing connections from: a port that the system chooses may be taken by any
 * connection between its choice and its use, and while a program restarts.
 */
const RANGE = { from: 10_000, to: 32_000 } as const;
/** Processes that choose at the same time do it in stretches of their own, as long as their ids differ enough. */
const STRETCHES = 64;
const STRETCH = Math.floor((RANGE.to - RANGE.from) / STRETCHES);

const first = RANGE.from + (process.pid % STRETCHES) * STRETCH;
let chosen = Math.floor(Math.random() * STRETCH);

/**
 * Chooses so many ports that are free for TCP and UDP. It does not choose a port again soon.
 * @param address - IP address that the ports are free at.
 * @throws Error if the address is not this machine's, or all ports of this process's stretch are taken.
 */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const free: number[] = [];
  for (let attempt = 0; free.length < count; attempt += 1) {
    if (attempt > STRETCH) throw new Error(`no free ports at ${address} between ${first} and ${first + STRETCH}`);
    chosen = (chosen + 1) % STRETCH;
    const port = first + chosen;
    if (await isFree(address, port)) free.push(port);
  }
  return free;
}

/** Chooses one port as {@link freePorts} does. */
export async function freePort(address?: string): Promise<number> {
  const [port] = await freePorts(1, address);
  return port as number;
}

/** Says whether a program could listen on a port, for TCP and for UDP. @throws what the system says of any other trouble. */
export async function isFree(address: string, port: number): Promise<boolean> {
  const server = createServer();
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
  try {
    await once(server.listen(port, address), 'listening');
    socket.bind(port, address);
    await once(socket, 'listening');
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return false;
    throw error;
  } finally {
    server.close();
    socket.close();
  }
}
