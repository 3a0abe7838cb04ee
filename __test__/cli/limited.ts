/** A relay in a process that may have few descriptors, and a stranger who takes all of them. */
import { readdirSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { DerpClient } from '../helpers/client.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { Command, type CommandOptions } from './commands.js';

/** Starts a command that may have so many descriptors, and cannot change that. */
export function startLimited(limit: number, line: readonly string[], options?: CommandOptions): Command {
  return new Command(['/bin/sh', '-c', `ulimit -n ${limit} && exec "$@"`, 'sh', ...line], options);
}

/** How many descriptors a process has open. */
export function descriptorsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

/** Opens connections to a port, says nothing, and opens others for those that the relay closes. */
export class Stranger {
  private readonly sockets = new Set<Socket>();
  /** Connections that the relay has closed. */
  refused = 0;

  constructor(private readonly port: number) {
    onTestFinished(() => this.leave());
  }

  /** How many connections are open. */
  get held(): number {
    return this.sockets.size;
  }

  /** Opens so many more. */
  async open(count: number): Promise<void> {
    await Promise.all([...Array(count)].map(() => this.connect()));
  }

  /** Goes on until a process has no descriptor left, or closes what comes. */
  async takeAll(relay: Command, limit: number): Promise<void> {
    await eventually(async () => {
      await this.open(16);
      return descriptorsOf(relay.pid) >= limit || this.refused > 0;
    }, 'the relay to be full');
  }

  leave(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  private async connect(): Promise<void> {
    const socket = connect({ host: '127.0.0.1', port: this.port });
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('end', () => {
      this.refused += 1;
      socket.destroy();
    });
    socket.on('close', () => this.sockets.delete(socket));
    await new Promise((resolve) => {
      socket.once('connect', resolve);
      socket.once('close', resolve);
    });
  }
}

/** One packet each way. */
export async function exchange(clients: readonly [DerpClient, DerpClient], text: string): Promise<void> {
  const [a, b] = clients;
  a.sendPacket(b.key, text);
  b.sendPacket(a.key, text);
  for (const client of clients) await client.expectPacket(text);
}

/** An HTTP connection that is open and has had an answer. */
export async function keptAlive(port: number, tls: boolean): Promise<Wire> {
  const wire = await Wire.open({ host: '127.0.0.1', port, ...(tls && { tls: {} }) });
  await ask(wire, '/derp/probe');
  return wire;
}

/** The status of the answer, whose body is left to be read. `closed` if the relay ends the connection instead. */
export async function ask(wire: Wire, path: string): Promise<number | 'closed'> {
  wire.write(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
  return statusOf(wire);
}

export async function askForWebSocket(wire: Wire): Promise<number | 'closed'> {
  const key = 'AAAAAAAAAAAAAAAAAAAAAA==';
  wire.write(
    'GET /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n' +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\nSec-WebSocket-Protocol: derp\r\n\r\n`,
  );
  return statusOf(wire);
}

export async function askForDerp(wire: Wire): Promise<number | 'closed'> {
  wire.write('GET /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n');
  return statusOf(wire);
}

async function statusOf(wire: Wire): Promise<number | 'closed'> {
  try {
    const head = (await wire.takeThrough('\r\n\r\n')).toString('latin1');
    return Number(head.split(' ')[1]);
  } catch (error) {
    if (wire.isOver) return 'closed';
    throw error;
  }
}

/** Tries a TLS handshake and a request; whatever comes of it, it ends. */
export async function tryTls(port: number): Promise<void> {
  const socket = connectTls({ host: '127.0.0.1', port, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  socket.on('error', () => undefined);
  socket.on('secureConnect', () =>
    socket.end('GET /generate_204 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n'),
  );
  socket.resume();
  setTimeout(() => socket.destroy(), 500).unref();
  await new Promise((resolve) => socket.once('close', resolve));
}
