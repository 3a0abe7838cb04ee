/** Says when files have changed, links that lead to others included. Looks at them: what links lead to cannot be watched. */
import { stat } from 'node:fs/promises';

/** How often files are looked at, in milliseconds. A change is told of when they have been the same for one look. */
export const LOOK_AT_FILES = 5000;

export class FileWatch {
  private readonly timer: NodeJS.Timeout;
  private told = '';
  private last = '';
  private looking = false;
  private stopped = false;

  constructor(
    private readonly paths: readonly string[],
    private readonly onChange: () => void,
    interval = LOOK_AT_FILES,
  ) {
    this.timer = setInterval(() => void this.look(), interval).unref();
    void this.look();
  }

  stop(): void {
    this.stopped = true;
    clearInterval(this.timer);
  }

  /** Of two files that belong together one may be written already: only what has settled is told of. */
  private async look(): Promise<void> {
    // A file of a network that is down may keep us waiting.
    if (this.looking) return;
    this.looking = true;
    const seen = (await Promise.all(this.paths.map(identity))).join('\n');
    this.looking = false;
    const isSettled = seen === this.last;
    this.last = seen;
    if (this.told === '') this.told = seen;
    if (this.stopped || !isSettled || seen === this.told) return;
    this.told = seen;
    this.onChange();
  }
}

/** Another text for another file, or for other contents. */
async function identity(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = await stat(path);
    return [dev, ino, size, mtimeMs, ctimeMs].join();
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
