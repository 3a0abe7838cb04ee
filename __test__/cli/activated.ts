/** Starts the commands as systemd does: with sockets that are open already, and with a socket to be told things on. */
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { binPath, Command, type CommandOptions, ROOT, temporary } from './commands.js';

/** A socket of this process, until it is handed over. */
export interface Open {
  readonly fd: number;
  readonly port: number;
  close(): void;
}

/** A TCP socket that listens. */
export async function tcp(host = '127.0.0.1'): Promise<Open> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  return opened(server, () => server.close());
}

/** A bound UDP socket. */
export async function udp(host = '127.0.0.1'): Promise<Open> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4', reuseAddr: true });
  await new Promise<void>((resolve) => socket.bind(0, host, resolve));
  return opened(socket, () => socket.close());
}

/** A Unix socket that listens. */
export async function unix(): Promise<Open> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(join(temporary(), 'socket'), resolve));
  return { fd: descriptorOf(server), port: 0, close: () => void server.close() };
}

function opened(of: { address(): unknown }, close: () => unknown): Open {
  return { fd: descriptorOf(of), port: (of.address() as { port: number }).port, close: () => void close() };
}

function descriptorOf(of: object): number {
  return (of as { _handle: { fd: number } })._handle.fd;
}

export interface Activation extends CommandOptions {
  /** What `LISTEN_FDNAMES` says. */
  readonly names?: string;
  readonly sockets: readonly Open[];
}

/** Starts a command with sockets, which this process then has no more. */
export function activate(
  bin: 'derper' | 'derpkit',
  args: readonly string[],
  { sockets, names, env, ...options }: Activation,
): Command {
  // The process that is started takes the number of the shell's.
  const script = 'LISTEN_PID=$$ exec "$@"';
  const command = new Command(['sh', '-c', script, 'sh', process.execPath, binPath(bin), ...args], {
    ...options,
    env: { ...env, LISTEN_FDS: `${sockets.length}`, ...(names !== undefined && { LISTEN_FDNAMES: names }) },
    descriptors: sockets.map(({ fd }) => fd),
  });
  for (const socket of sockets) socket.close();
  return command;
}

/** What a service manager is told: one line for each datagram, its lines separated by spaces. */
export async function listener(
  kind: 'path' | 'abstract',
): Promise<{ readonly socket: string; readonly told: Command }> {
  const path = join(temporary(), 'notify');
  const socket = kind === 'path' ? path : `@${path}`;
  const told = new Command(['python3', join(ROOT, '__test__/cli/programs/service-manager.py'), socket]);
  await told.printed(/^listening$/m);
  return { socket, told };
}
