/** The terminal as `derpkit top` uses it: a screen of its own, which is put back however the command ends. */
import { endBySignal } from '../signals.js';

const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const HOME = '\x1b[H';
const TO_THE_END_OF_THE_LINE = '\x1b[K';
const TO_THE_END = '\x1b[J';
/** Milliseconds within which the system stops a process that asks for it. */
const STOPPED = 100;
const ENDS: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/** What the screen tells of. */
export interface ScreenEvents {
  /** A key was pressed, which is neither Ctrl-C nor Ctrl-Z. */
  readonly key: (key: string) => void;
  /** Lines have to be drawn anew: the terminal has another size, or shows the screen again. */
  readonly resize: () => void;
}

export class Screen {
  private isOpen = false;

  constructor(private readonly events: ScreenEvents) {}

  /** Whether there is a terminal that can show one. */
  static isPossible(): boolean {
    return process.stdout.isTTY === true && process.env.TERM !== 'dumb';
  }

  get size(): { readonly width: number; readonly height: number } {
    const { columns = 80, rows = 24 } = process.stdout;
    return { width: columns, height: rows };
  }

  open(): void {
    this.enter();
    process.on('exit', () => this.leave());
    for (const signal of ENDS) {
      process.on(signal, () => {
        this.leave();
        endBySignal(signal);
      });
    }
    process.on('SIGCONT', () => this.resume());
    process.stdout.on('resize', () => this.events.resize());
    process.stdin.on('data', (bytes) => this.onInput(bytes.toString()));
    // A terminal that has gone away; its output has an error, too.
    process.stdin.on('error', () => {});
  }

  /** Draws lines, and nothing below them. */
  draw(lines: readonly string[]): void {
    if (!this.isOpen) return;
    const text = lines.join(`${TO_THE_END_OF_THE_LINE}\n`);
    process.stdout.write(`${HOME}${text}${TO_THE_END_OF_THE_LINE}${TO_THE_END}`);
  }

  /** Gives the terminal back. May be called again. */
  leave(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    if (process.stdin.isTTY) process.stdin.setRawMode(false).pause();
    process.stdout.write(LEAVE);
  }

  /** Stops until a shell goes on with the command. Where there is no shell that could, the system does not stop it. */
  private suspend(): void {
    this.leave();
    process.kill(process.pid, 'SIGTSTP');
    setTimeout(() => this.resume(), STOPPED);
  }

  private resume(): void {
    this.enter();
    this.events.resize();
  }

  private enter(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    if (process.stdin.isTTY) process.stdin.setRawMode(true).resume();
    process.stdout.write(ENTER);
  }

  /** A raw terminal sends no signals: these keys do what they do elsewhere. */
  private onInput(text: string): void {
    for (const key of text) {
      if (key === '\x03') {
        this.leave();
        endBySignal('SIGINT');
      } else if (key === '\x1a') {
        this.suspend();
      } else {
        this.events.key(key);
      }
    }
  }
}
