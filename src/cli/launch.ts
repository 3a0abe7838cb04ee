/** How commands start: their modules are loaded here, so that a failure to load them still gets a readable message. */

/** File descriptors that a relay needs to start and to serve some clients. */
const LEAST_DESCRIPTORS = 256;

/**
 * Loads a command and runs it. If the system has no file descriptor left for its modules, says what to do and exits
 * with status 1. This file imports nothing, because it is an import that fails.
 */
export async function launch(name: string, load: () => Promise<unknown>): Promise<void> {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => onLostOutput(name, error));
  // There is no place left to say it.
  process.stderr.on('error', () => {});
  try {
    await load();
  } catch (error) {
    if (!isOutOfDescriptors(error)) throw error;
    const advice = `raise the limit (ulimit -n, LimitNOFILE) to ${LEAST_DESCRIPTORS} or more`;
    process.stderr.write(`${name}: there are too few file descriptors to start: ${advice}\n`);
    process.exit(1);
  }
}

/** Unless the command has a way of its own, an output that is lost is a failure. A reader that leaves early, as `head` does, is none. */
function onLostOutput(name: string, error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE' || process.stdout.listenerCount('error') > 1) return;
  process.stderr.write(`${name}: the output cannot be written: ${error.message}\n`);
  process.exitCode = 1;
}

/** Node wraps some system errors, and reports others only in the message. */
function isOutOfDescriptors(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EMFILE' || code === 'ENFILE' || /\bE[MN]FILE\b|too many open files/i.test(error.message)) return true;
  return isOutOfDescriptors(error.cause);
}
