/**
 * A narrow link: two network namespaces, one for the relay and one for the generator, and two pairs of interfaces between
 * them. One pair is as fast as memory; the relay's end of the other has a token bucket. So only what the relay sends to
 * the receiver passes the narrow link, and no route has to be set. Linux with root only.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { Command } from './contenders.js';
import type { NarrowLink } from './scenarios.js';

const PREFIX = 'derpkit-bench';
/** Relays show `/debug/` to addresses of Tailscale's range, and the generator reads there why packets were dropped. */
const WIDE = { relay: '100.101.1.1', generator: '100.101.1.2' };
const NARROW = { relay: '100.101.2.1', generator: '100.101.2.2' };
/** Bytes that the token bucket passes at once. */
const BURST = '16kb';

export class NarrowPlace {
  /** Addresses of the relay: for senders, and over the narrow link. */
  readonly wide = WIDE.relay;
  readonly narrow = NARROW.relay;
  readonly #relay: string;
  readonly #generator: string;

  /** Throws an Error that says what is missing, if this system, or this user, cannot have such a link. */
  constructor({ rate, queue, congestion }: NarrowLink) {
    const [relay, generator] = names(process.pid);
    this.#relay = relay;
    this.#generator = generator;
    refuseElsewhere();
    removeLeftOvers();
    try {
      for (const name of [relay, generator]) {
        ip('netns', 'add', name);
        ip('-n', name, 'link', 'set', 'lo', 'up');
      }
      for (const [pair, addresses] of Object.entries({ wide: WIDE, narrow: NARROW })) {
        ip('-n', relay, 'link', 'add', pair, 'type', 'veth', 'peer', 'name', pair, 'netns', generator);
        for (const [name, address] of [
          [relay, addresses.relay],
          [generator, addresses.generator],
        ] as const) {
          ip('-n', name, 'address', 'add', `${address}/24`, 'dev', pair);
          ip('-n', name, 'link', 'set', pair, 'up');
        }
      }
      const bucket = ['tbf', 'rate', `${rate}mbit`, 'burst', BURST, 'limit', String(queue << 10)];
      run('tc', '-n', relay, 'qdisc', 'add', 'dev', 'narrow', 'root', ...bucket);
      run('ip', 'netns', 'exec', relay, 'sysctl', '-q', '-w', `net.ipv4.tcp_congestion_control=${congestion}`);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The command, in the relay's namespace. */
  beRelay({ argv, env }: Command): Command {
    return { argv: ['ip', 'netns', 'exec', this.#relay, ...argv], ...(env && { env }) };
  }

  /** The command, in the generator's namespace. */
  beGenerator({ argv }: Command): Command {
    return { argv: ['ip', 'netns', 'exec', this.#generator, ...argv] };
  }

  /** Removes the namespaces, and with them the interfaces. */
  close(): void {
    for (const name of [this.#relay, this.#generator]) spawnSync('ip', ['netns', 'del', name]);
  }
}

/** Why network namespaces cannot have this congestion control; undefined if they can. */
export function whyNot(congestion: NarrowLink['congestion']): string | undefined {
  const allowed = readFileSync('/proc/sys/net/ipv4/tcp_allowed_congestion_control', 'latin1').trim().split(' ');
  if (allowed.includes(congestion)) return undefined;
  return (
    `the system gives network namespaces no congestion control ${congestion}: load its module, and permit it with ` +
    `sysctl -w net.ipv4.tcp_allowed_congestion_control="${[...allowed, congestion].join(' ')}"`
  );
}

/** Whether a process listens at `port`, in its own namespace. */
export function listensIn(pid: number, port: number): boolean {
  const local = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  const LISTEN = '0A';
  return ['tcp', 'tcp6'].some((table) => {
    try {
      const rows = readFileSync(`/proc/${pid}/net/${table}`, 'latin1').split('\n').slice(1);
      return rows
        .map((row) => row.trim().split(/\s+/))
        .some(([, at, , state]) => at?.endsWith(local) && state === LISTEN);
    } catch {
      return false;
    }
  });
}

function names(pid: number): [string, string] {
  return [`${PREFIX}-${pid}-relay`, `${PREFIX}-${pid}-load`];
}

/** Throws an Error that says why this system, or this user, can have no narrow link. */
export function refuseElsewhere(): void {
  if (process.platform !== 'linux') throw new Error('a narrow link needs network namespaces, which only Linux has');
  if (process.getuid?.() !== 0) throw new Error('a narrow link needs root: it makes network namespaces');
  for (const tool of ['ip', 'tc']) {
    if (spawnSync(tool, ['-V']).error)
      throw new Error(`a narrow link needs the program ${tool}, of the package iproute2`);
  }
}

/** Removes namespaces of benchmarks that were killed before they could. */
function removeLeftOvers(): void {
  const { stdout = '' } = spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' });
  for (const [name, pid] of stdout.matchAll(new RegExp(`^${PREFIX}-(\\d+)-\\w+`, 'gm'))) {
    if (!isAlive(Number(pid)) || Number(pid) === process.pid) spawnSync('ip', ['netns', 'del', name]);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function ip(...args: string[]): void {
  run('ip', ...args);
}

function run(program: string, ...args: string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`a narrow link cannot be made: ${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
