/** A terminal, and a program that runs in it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { Changes } from '../helpers/wait.js';
import { ROOT } from './commands.js';

/** How the program ended, and whether the terminal shows again what is typed. */
export interface TerminalEnd {
  readonly code: number | null;
  readonly signal: number | null;
  readonly echoes: boolean;
}

/** What the program writes to draw a frame from the top of the screen. */
const HOME = '\x1b[H';

export class Terminal {
  /** Everything that the program has shown, codes included. */
  output = '';
  private errors = '';
  private readonly child: ChildProcess;
  private readonly changes = new Changes();
  private isOver = false;

  constructor(line: readonly string[], env: Readonly<Record<string, string>> = {}) {
    const program = join(ROOT, '__test__/cli/programs/terminal.py');
    const { PATH = '' } = process.env;
    this.child = spawn('python3', [program, ...line], { env: { PATH, TERM: 'xterm', ...env } });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
      this.changes.notify();
    });
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    this.child.on('close', () => {
      this.isOver = true;
      this.changes.notify();
    });
    // The program ends with its terminal.
    onTestFinished(() => void this.child.stdin?.end());
  }

  type(keys: string): void {
    this.tell({ keys });
  }

  resize(rows: number, columns: number): void {
    this.tell({ size: [rows, columns] });
  }

  signal(name: 'SIGTERM' | 'SIGHUP' | 'SIGINT' | 'SIGUSR2'): void {
    this.tell({ signal: constants.signals[name] });
  }

  /** The lines of the last whole frame, without codes. */
  get lines(): string[] {
    const frames = this.output.split(HOME);
    const [frame = ''] = frames.filter((text) => text.includes('\x1b[J')).slice(-1);
    return (frame.split('\x1b[J')[0] ?? '').split(/\r?\n/).map(bare);
  }

  /** The modes that the program has set and reset, in their order: `?1049` is a screen of its own, `?25` the cursor. */
  get modes(): string[] {
    return this.output.split('\x1b[').flatMap((part) => /^\?(?:1049|25)[hl]/.exec(part) ?? []);
  }

  /** Waits for a frame that has such a line. */
  async shows(pattern: RegExp): Promise<string> {
    return this.changes.until(
      () => {
        if (this.isOver) throw new Error(`it ended without ${pattern}: ${this.story()}`);
        return this.lines.find((line) => pattern.test(line));
      },
      () => `${pattern}: ${this.story()}`,
    );
  }

  /** Waits for something to be shown that is not shown yet. */
  async afterwards(pattern: RegExp, act: () => void): Promise<void> {
    const from = this.output.length;
    act();
    await this.changes.until(
      () => pattern.test(this.output.slice(from)) || undefined,
      () => `${pattern}: ${this.story()}`,
    );
  }

  async end(): Promise<TerminalEnd> {
    await this.changes.until(
      () => this.isOver || undefined,
      () => `the end: ${this.story()}`,
    );
    return JSON.parse(this.errors) as TerminalEnd;
  }

  private tell(command: object): void {
    this.child.stdin?.write(`${JSON.stringify(command)}\n`);
  }

  private story(): string {
    return JSON.stringify({ shown: this.output.slice(-3000), errors: this.errors });
  }
}

/** Text without the codes of a terminal. */
export function bare(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are the codes.
  return text.replaceAll(/\x1b\[[?\d;]*[A-Za-z]/g, '');
}
