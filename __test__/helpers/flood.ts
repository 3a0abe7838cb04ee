/** Strangers who come in waves, and stay for as long as they may. */
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { onTestFinished } from 'vitest';
import type { Target } from './wire.js';

export interface FloodOptions {
  /** Where they come from, in turn. */
  readonly addresses: readonly string[];
  /** What each sends once it is connected. Without it they stay silent, below TLS too. */
  readonly says?: string;
}

export class Flood {
  /** Connections made, those that were refused included. */
  made = 0;
  private readonly held = new Set<Socket>();

  constructor(
    private readonly target: Target,
    private readonly options: FloodOptions,
  ) {
    onTestFinished(() => this.end());
  }

  /** How many the relay has not ended. */
  get standing(): number {
    return this.held.size;
  }

  /** So many more, all at once; returns when each is connected, and has an answer if it has asked, or has ended. */
  async wave(count: number): Promise<void> {
    await Promise.all([...Array(count)].map(() => this.one()));
  }

  async end(): Promise<void> {
    const closed = [...this.held].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    for (const socket of this.held) socket.destroy();
    await Promise.all(closed);
  }

  private one(): Promise<void> {
    const { host, port, tls } = this.target;
    const { addresses, says } = this.options;
    const localAddress = addresses[this.made % addresses.length] as string;
    this.made += 1;
    const socket = connect({ host, port, localAddress });
    this.held.add(socket);
    socket.once('close', () => this.held.delete(socket));
    socket.on('error', () => socket.destroy());
    return new Promise((resolve) => {
      socket.once('close', () => resolve());
      if (says === undefined) {
        socket.once('connect', () => resolve());
        socket.on('end', () => socket.destroy());
        socket.resume();
        return;
      }
      const stream = tls ? connectTls({ socket, rejectUnauthorized: false, ...tls }) : socket;
      stream.on('error', () => socket.destroy());
      stream.once(tls ? 'secureConnect' : 'connect', () => stream.write(says));
      stream.once('data', () => resolve());
      stream.on('end', () => socket.destroy());
    });
  }
}

/** So many addresses of this machine, beside 127.0.0.1. */
export function loopbackAddresses(count: number, second = 1): string[] {
  return [...Array(count).keys()].map((index) => `127.${second}.${index >> 7}.${1 + (index & 127)}`);
}
