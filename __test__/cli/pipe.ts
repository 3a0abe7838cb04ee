/** A file that cannot be read to its end before the test writes it: a named pipe. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, writeSync } from 'node:fs';
import { onTestFinished } from 'vitest';
import { eventually } from '../helpers/wait.js';

export class Pipe {
  private descriptor: number | undefined;

  constructor(readonly path: string) {
    execFileSync('mkfifo', [path]);
    onTestFinished(() => this.close());
  }

  /** Resolves when another process reads the file, which then waits for {@link write}. */
  async isRead(): Promise<void> {
    await eventually(() => {
      try {
        // The system refuses this while there is no reader.
        this.descriptor = openSync(this.path, constants.O_WRONLY | constants.O_NONBLOCK);
        return true;
      } catch {
        return false;
      }
    }, `${this.path} to be read`);
  }

  /** Gives the reader the whole contents of the file. */
  write(text: string): void {
    writeSync(this.descriptor as number, text);
    this.close();
  }

  private close(): void {
    if (this.descriptor !== undefined) closeSync(this.descriptor);
    this.descriptor = undefined;
  }
}
