/** What commands print that go on until they are ended. */
import { once } from 'node:events';

/** Ends the command when the reader of its output has left: `head` does, and that is no failure. */
export function endWithReader(restore = (): void => {}): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    restore();
    if (error.code === 'EPIPE') process.exit(0);
    process.stderr.write(`derpkit: the output cannot be written: ${error.message}\n`);
    process.exit(1);
  });
}

/** Writes to the output, and waits while its reader is behind. */
export async function print(text: string | Buffer): Promise<void> {
  if (!process.stdout.write(text)) await once(process.stdout, 'drain');
}
