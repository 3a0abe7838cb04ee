/** A real nats-server, in a process of its own, that can be killed, paused and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePort } from '../../src/bench/ports.js';
import { reachable } from '../../src/bench/processes.js';
import { eventually } from './wait.js';

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL');
});

export class NatsServerProcess {
  private child: ChildProcess | undefined;

  private constructor(
    private readonly program: string,
    readonly port: number,
    private readonly directory: string,
  ) {}

  /** `config` is more text for its file. */
  static async start(program: string, config = ''): Promise<NatsServerProcess> {
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-nats-'));
    const server = new NatsServerProcess(program, await freePort(), directory);
    writeFileSync(join(directory, 'nats.conf'), `no_fast_producer_stall: true\n${config}`);
    await server.again();
    return server;
  }

  /** Starts it again, after {@link kill}: it knows nothing of what was before. */
  async again(): Promise<void> {
    const args = ['-a', '127.0.0.1', '-p', `${this.port}`, '-c', join(this.directory, 'nats.conf')];
    const child = spawn(this.program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let output = '';
    child.stderr.on('data', (chunk) => {
      output = (output + chunk).slice(-4_000);
    });
    running.add(child);
    child.once('exit', () => running.delete(child));
    this.child = child;
    await eventually(
      () => {
        if (child.exitCode !== null) throw new Error(`nats-server has ended: ${output}`);
        return reachable(this.port);
      },
      () => `nats-server to listen: ${output}`,
    );
  }

  async kill(): Promise<void> {
    const { child } = this;
    this.child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  /** The process stands still: its connections stay, and it reads and writes nothing. */
  pause(): void {
    this.child?.kill('SIGSTOP');
  }

  resume(): void {
    this.child?.kill('SIGCONT');
  }

  /** Bytes of memory, and milliseconds of processor time so far. */
  figures(): { memory: number; busy: number } {
    const of = (file: string) => readFileSync(`/proc/${this.child?.pid}/${file}`, 'utf8');
    const fields = of('stat').split(') ').at(-1)?.split(' ') ?? [];
    return {
      memory: Number(/VmRSS:\s+(\d+)/.exec(of('status'))?.[1]) * 1024,
      busy: (Number(fields[11]) + Number(fields[12])) * 10,
    };
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
