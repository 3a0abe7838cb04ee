/** Runs child processes on cores of their own. None of them outlives this process. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from './contenders.js';

/** Descriptors of a child: a relay of a thousand clients needs more than a shell's default. */
const DESCRIPTORS = 20_000;
/** Milliseconds until a relay listens. */
const START = 20_000;
/** Milliseconds from SIGTERM to SIGKILL. */
const STOP = 5_000;
/** Characters of a child's standard error that are kept. */
const WORDS = 4096;

const alive = new Set<ChildProcess>();
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL');
});

export class Started {
  /** The last output of the process on standard error. */
  words = '';
  readonly ended: Promise<{ readonly code: number | null; readonly stdout: string }>;
  #stdout = '';

  constructor(readonly child: ChildProcess) {
    alive.add(child);
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.words = (this.words + text).slice(-WORDS);
    });
    this.ended = new Promise((resolve) => {
      child.once('error', (error) => {
        alive.delete(child);
        this.words += error.message;
        resolve({ code: null, stdout: '' });
      });
      child.once('close', (code) => {
        alive.delete(child);
        resolve({ code, stdout: this.#stdout });
      });
    });
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  get running(): boolean {
    return alive.has(this.child);
  }

  /** Stops the process with SIGTERM, and with SIGKILL if that does not end it. */
  async stop(): Promise<void> {
    if (!this.running) return;
    this.child.kill('SIGTERM');
    const killing = setTimeout(() => this.child.kill('SIGKILL'), STOP);
    await this.ended;
    clearTimeout(killing);
  }
}

/** Tools of this system that pin processes to cores and end them with their parent. */
export interface Tools {
  readonly taskset: boolean;
  readonly setpriv: boolean;
}

export function tools(): Tools {
  const has = (name: string) => process.platform === 'linux' && spawnSync(name, ['--version']).status === 0;
  return { taskset: has('taskset'), setpriv: has('setpriv') };
}

/** Starts a program, on the given cores if there are any. Keeps its whole standard output, which should be short. */
export function start({ argv, env = {} }: Command, cores: string | undefined, { taskset, setpriv }: Tools): Started {
  const line = [
    // A waiting shell would not pass the signal on, so each program here replaces the one before, under one process id.
    ...(setpriv ? ['setpriv', '--pdeathsig', 'KILL'] : []),
    ...(taskset && cores !== undefined ? ['taskset', '-c', cores] : []),
    ...argv,
  ];
  const limit = `ulimit -n ${DESCRIPTORS} 2>/dev/null || ulimit -n "$(ulimit -Hn)" 2>/dev/null; exec "$@"`;
  const [program = '', ...args] = process.platform === 'win32' ? line : ['sh', '-c', limit, 'sh', ...line];
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...withoutOurs(process.env), ...env },
    // Ctrl-C reaches only this process, which stops its children in order.
    detached: process.platform !== 'win32',
  });
  return new Started(child);
}

/** The environment without derpkit's variables, which would change the measured relays. */
function withoutOurs(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('DERPKIT_')));
}

/** Waits until a process listens at `port`. Rejects with its last output if it ends first, or takes too long. */
export async function listening(started: Started, port: number): Promise<void> {
  await until(started, () => reachable(port));
}

/** Waits until `listens` says so of a process. Rejects with its last output if it ends first, or takes too long. */
export async function until(started: Started, listens: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + START;
  while (performance.now() < end) {
    if (!started.running) throw new Error(`it ended at once: ${started.words.trim()}`);
    if (await listens()) return;
    await pause(20);
  }
  throw new Error(`it does not listen: ${started.words.trim()}`);
}

/** Whether a connection to the port succeeds. */
export async function reachable(port: number, host = '127.0.0.1'): Promise<boolean> {
  const socket = connect({ host, port });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
