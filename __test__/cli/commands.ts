/** Runs the commands as an operator does: in processes of their own, judged by what they print and how they end. */
import { type ChildProcess, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { cpSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { Changes } from '../helpers/wait.js';

/** The project's directory. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Longer than anything takes, and shorter than a test may: a test that hangs says what it waited for. */
const PATIENCE = 25_000;

export interface CommandOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Runs as nobody in particular, where the tests are run by root. */
  readonly unprivileged?: boolean;
  /** Leads a process group, as what a terminal starts does. */
  readonly group?: boolean;
  readonly patience?: number;
  /** Descriptors that it is given, from 3 on. */
  readonly descriptors?: readonly number[];
  /** False for what is started for several tests, which end it themselves. */
  readonly endsWithTest?: boolean;
}

/** A command that was started. It ends with its test, if not before. */
export class Command {
  stdout = '';
  stderr = '';
  readonly pid: number;
  private readonly child: ChildProcess;
  private readonly changes = new Changes();
  private readonly patience: number;
  private readonly group: boolean;
  private ended: Ended | undefined;

  constructor(
    readonly line: readonly [string, ...string[]],
    {
      env = {},
      cwd,
      unprivileged = false,
      group = false,
      patience = PATIENCE,
      endsWithTest = true,
      descriptors = [],
    }: CommandOptions = {},
  ) {
    const [program, ...args] = line;
    this.patience = patience;
    this.group = group;
    this.child = spawn(program, args, {
      env: { ...bareEnvironment(), ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
      detached: group,
      ...(cwd !== undefined && { cwd }),
      ...(unprivileged && isRoot() && { uid: NOBODY, gid: NOBODY }),
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => this.onOutput('stdout', text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => this.onOutput('stderr', text));
    // Without a process there is no end to wait for either.
    this.child.on('error', (error) => this.onEnd({ code: null, signal: null, error }));
    this.child.on('close', (code, signal) => this.onEnd({ code, signal }));
    this.pid = this.child.pid ?? 0;
    if (endsWithTest) onTestFinished(() => this.kill());
  }

  /** Waits for something to be printed, on either stream; the command must not end before. */
  async printed(pattern: RegExp): Promise<RegExpExecArray> {
    return this.until(() => {
      const match = pattern.exec(this.stdout) ?? pattern.exec(this.stderr);
      if (!match && this.ended) throw new Error(`it ended without ${pattern}: ${this.story()}`);
      return match ?? undefined;
    }, `${pattern}`);
  }

  /** Waits for the end. */
  async end(): Promise<Result> {
    const { code, signal, error } = await this.until(() => this.ended, 'the end');
    if (error) throw error;
    // Wherever it goes, a log or a terminal: what is printed is text and nothing else.
    if (`${this.stdout}${this.stderr}`.includes('\u001b')) throw new Error(`there are escape codes: ${this.story()}`);
    return { code, signal, stdout: this.stdout, stderr: this.stderr };
  }

  /** Sends a signal, if it is still there to take one. */
  signal(signal: NodeJS.Signals): boolean {
    return this.child.kill(signal);
  }

  /** Asks it to end, and waits until it has. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Result> {
    this.signal(signal);
    return this.end();
  }

  /** The same for all of its process group, as Ctrl-C in a terminal. */
  async interruptGroup(): Promise<Result> {
    process.kill(-this.pid, 'SIGINT');
    return this.end();
  }

  private until<T>(check: () => T | undefined, what: string): Promise<T> {
    return this.changes.until(check, () => `${what}: ${this.story()}`, this.patience);
  }

  private onOutput(stream: 'stdout' | 'stderr', text: string): void {
    this[stream] += text;
    this.changes.notify();
  }

  private onEnd(ended: Ended): void {
    this.ended = ended;
    this.changes.notify();
  }

  private kill(): void {
    if (this.group) {
      // All of it, whatever has become of its leader.
      try {
        process.kill(-this.pid, 'SIGKILL');
      } catch {
        // Nothing is left of it.
      }
    } else if (!this.ended) {
      this.child.kill('SIGKILL');
    }
  }

  private story(): string {
    const end = this.ended ? `ended with ${this.ended.signal ?? this.ended.code}` : 'still running';
    return `${this.line.join(' ')}: ${end}; stdout ${JSON.stringify(this.stdout)}; stderr ${JSON.stringify(this.stderr)}`;
  }
}

export interface Result {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

type Ended = Pick<Result, 'code' | 'signal'> & { readonly error?: Error };

export type Bin = 'derper' | 'derpkit';

/** Starts one of the package's commands. */
export function start(bin: Bin, args: readonly string[], options?: CommandOptions): Command {
  return new Command([process.execPath, binPath(bin), ...args], options);
}

/** Runs one to its end. */
export function run(bin: Bin, args: readonly string[], options?: CommandOptions): Promise<Result> {
  return start(bin, args, options).end();
}

export function binPath(bin: Bin): string {
  return join(ROOT, 'dist', 'cli', `${bin}.js`);
}

/** What of our environment leads out to a package registry. */
export function networkEnvironment(): Record<string, string> {
  const names = /^(?:https?_proxy|no_proxy|node_extra_ca_certs|npm_config_registry)$/i;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => names.test(name))) as Record<string, string>;
}

/** One of the commands in a package that has no native plane, whatever was built here. */
export function withoutNative(bin: Bin): string {
  const directory = temporary();
  for (const name of ['dist', 'package.json']) cpSync(join(ROOT, name), join(directory, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return join(directory, 'dist', 'cli', `${bin}.js`);
}

/** Lines without the empty one behind the last. */
export function lines(text: string): string[] {
  return text === '' ? [] : text.replace(/\n$/, '').split('\n');
}

/** A directory that is removed after the test. */
export function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-cli-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** A port that somebody else has, until the test is over. */
export async function takenPort(): Promise<number> {
  const server = createServer();
  onTestFinished(() => void server.close());
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, () => resolve((server.address() as { port: number }).port));
  });
}

/** The same for UDP. */
export async function takenUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  onTestFinished(() => void socket.close());
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(0, () => resolve(socket.address().port));
  });
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Root's way to be no one; the number is the same everywhere that matters. */
const NOBODY = 65534;

/** What every command needs of our own environment, and none of what is set in it for somebody else. */
function bareEnvironment(): Record<string, string> {
  const { PATH = '', TMPDIR } = process.env;
  return {
    PATH: [dirname(process.execPath), PATH].join(delimiter),
    // No one's: nothing that lies in a home directory may change what a test sees.
    HOME: '/nonexistent',
    ...(TMPDIR !== undefined && { TMPDIR }),
  };
}
