/** Reports changed files, links to other files included. It polls, because the targets of links cannot be watched. */
import { stat } from 'node:fs/promises';

/** Milliseconds between looks. A change is reported once the files have been stable for one look. */
export const LOOK_AT_FILES = 5000;

export class FileWatch {
  /** Settles after the first look: every later change is reported. */
  readonly ready: Promise<void>;
  private readonly timer: NodeJS.Timeout;
  private told: string | undefined;
  private last: string | undefined;
  private looking = false;
  private stopped = false;

  constructor(
    private readonly paths: readonly string[],
    private readonly onChange: () => void,
    interval = LOOK_AT_FILES,
  ) {
    this.timer = setInterval(() => void this.look(), interval).unref();
    this.ready = this.look();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Reports only stable files: of a pair, one file may already be new and the other not. */
  private async look(): Promise<void> {
    // Reading from a network file system that is down may block for long.
    if (this.looking) return;
    this.looking = true;
    const seen = (await Promise.all(this.paths.map(identity))).join();
    this.looking = false;
    const isSettled = seen === this.last;
    this.last = seen;
    this.told ??= seen;
    if (this.stopped || !isSettled || seen === this.told) return;
    this.told = seen;
    this.onChange();
  }
}

/** A text that differs if the file or its contents do. */
async function identity(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
