/** Starts relays as people do: the command with its flags, in a process of its own. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Peers } from '../../packaging/peers.mjs';
import { freePorts, isFree } from '../../src/bench/ports.js';
import { reachable } from '../../src/bench/processes.js';

export type Implementation = 'derpkit' | 'derper';

const DERPKIT_COMMAND = fileURLToPath(new URL('../../dist/cli/derper.js', import.meta.url));
const VECTORS = new URL('../vectors/protocol.json', import.meta.url);

const START_TIMEOUT = 20_000;
const STOP_TIMEOUT = 10_000;

export interface RelayOptions {
  /** IP address to listen on. */
  readonly address: string;
  /** Host name of the certificate, which lies in `directory`; plain HTTP without one. */
  readonly hostname?: string;
  /** Whether a TLS relay also has its plain face. */
  readonly httpPort?: boolean;
  /** Where certificates and the mesh key are, and the relay's key is kept. */
  readonly directory: string;
  /** Distinguishes relays that share the directory. */
  readonly name: string;
  /** More flags. */
  readonly flags?: readonly string[];
  /** Where to listen; free ports if not given. */
  readonly ports?: Ports;
  readonly env?: NodeJS.ProcessEnv;
}

/** What must not outlive this process, however it ends. */
const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

/** A running relay. */
export class Relay {
  readonly address: string;
  readonly port: number;
  readonly httpPort: number;
  readonly stunPort: number;
  readonly #child: ChildProcess;
  readonly #closed: Promise<void>;
  readonly #output: string[] = [];

  private constructor(options: RelayOptions, ports: Ports, command: readonly string[]) {
    this.address = options.address;
    this.port = ports.main;
    this.httpPort = ports.http;
    this.stunPort = ports.stun;
    const [program = '', ...args] = [...command, ...flags(options, ports)];
    this.#child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...options.env } });
    running.add(this.#child);
    this.#closed = new Promise((resolve) => {
      this.#child.on('close', () => {
        running.delete(this.#child);
        resolve();
      });
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => this.#output.push(text));
    }
    this.#child.on('error', (error) => this.#output.push(`${error.message}\n`));
  }

  /** Starts a relay and waits until every one of its ports answers. */
  static async start(implementation: Implementation, peers: Peers, options: RelayOptions): Promise<Relay> {
    const command = commandOf(implementation, peers);
    const relay = new Relay(options, options.ports ?? (await threePorts(options.address)), command);
    try {
      await relay.#ready(options);
      return relay;
    } catch (error) {
      await relay.stop();
      throw new Error(`${command.join(' ')} did not start: ${(error as Error).message}\n${relay.output}`, {
        cause: error,
      });
    }
  }

  /** `HOST:PORT` of one of the ports. */
  at(port: number): string {
    return this.address.includes(':') ? `[${this.address}]:${port}` : `${this.address}:${port}`;
  }

  /** All that the relay has printed. */
  get output(): string {
    return this.#output.join('');
  }

  /** Asks the relay to end, as a service manager does. Resolves with its exit status, `null` if it had to be killed. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    if (child.pid === undefined) return null;
    child.kill('SIGTERM');
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT);
    await this.#closed; // not only ended: all that it printed is here
    clearTimeout(timer);
    return child.exitCode;
  }

  async #ready(options: RelayOptions): Promise<void> {
    const deadline = Date.now() + START_TIMEOUT;
    const until = async (what: string, attempt: () => Promise<boolean>) => {
      while (!(await attempt())) {
        if (this.#child.exitCode !== null || this.#child.signalCode !== null) throw new Error('it has ended');
        if (Date.now() > deadline) throw new Error(`${what} does not answer`);
        await delay(20);
      }
    };
    await until(this.at(this.port), () => reachable(this.port, this.address));
    if (options.httpPort) await until(this.at(this.httpPort), () => reachable(this.httpPort, this.address));
    await until(`STUN at ${this.at(this.stunPort)}`, () => answersSTUN(this.address, this.stunPort));
  }
}

/** What to run, without flags. */
export function commandOf(implementation: Implementation, peers: Peers): readonly string[] {
  if (implementation === 'derper') return [peers.derper];
  if (existsSync(DERPKIT_COMMAND)) return [process.execPath, DERPKIT_COMMAND];
  throw new Error(`${DERPKIT_COMMAND} is not there; npm run build makes it`);
}

export function flags(options: RelayOptions, ports: Ports): string[] {
  const host = options.address.includes(':') ? `[${options.address}]` : options.address;
  const list = ['-a', `${host}:${ports.main}`, '-stun-port', String(ports.stun)];
  list.push(
    '-c',
    join(options.directory, `${options.name}.key`),
    '-mesh-psk-file',
    join(options.directory, 'mesh.key'),
  );
  if (options.hostname !== undefined) {
    list.push('-certmode', 'manual', '-certdir', options.directory, '-hostname', options.hostname);
    list.push('-http-port', String(options.httpPort ? ports.http : -1));
  }
  return [...list, ...(options.flags ?? [])];
}

export interface Ports {
  readonly main: number;
  readonly http: number;
  readonly stun: number;
}

/** Chooses three ports that are free, for TCP and UDP alike. */
export async function threePorts(address: string): Promise<Ports> {
  const [main, http, stun] = (await freePorts(3, address)) as [number, number, number];
  return { main, http, stun };
}

/** Whether this machine has IPv6, at least on loopback. */
export function hasIPv6(): Promise<boolean> {
  return isFree('::1', 0).catch(() => false);
}

async function answersSTUN(address: string, port: number): Promise<boolean> {
  const { stun } = JSON.parse(readFileSync(VECTORS, 'utf8'));
  const request = Buffer.from(stun.requests.values.ones.hex, 'hex');
  const socket = createSocket(udpType(address));
  try {
    socket.connect(port, address);
    await once(socket, 'connect');
    socket.send(request);
    return await Promise.race([once(socket, 'message').then(() => true), delay(200, false)]);
  } catch {
    return false; // refused: nobody listens yet
  } finally {
    socket.close();
  }
}

function udpType(address: string): 'udp4' | 'udp6' {
  return address.includes(':') ? 'udp6' : 'udp4';
}
