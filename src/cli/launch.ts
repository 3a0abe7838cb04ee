/** How the commands begin: what they are made of is loaded where a failure of that can still be put into words. */

/** File descriptors that a relay needs to start and to serve a few clients. */
const LEAST_DESCRIPTORS = 256;

/**
 * Loads a command and lets it run. Where the system has no file descriptor left for its modules, the process says what to
 * do, and ends with status 1. This file imports nothing, because an import is what fails.
 */
export async function launch(name: string, load: () => Promise<unknown>): Promise<void> {
  try {
    await load();
  } catch (error) {
    if (!isOutOfDescriptors(error)) throw error;
    const advice = `raise the limit (ulimit -n, LimitNOFILE) to ${LEAST_DESCRIPTORS} or more`;
    process.stderr.write(`${name}: there are too few file descriptors to start: ${advice}\n`);
    process.exit(1);
  }
}

/** Node wraps some of the system's errors, and says of others no more than their text. */
function isOutOfDescriptors(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'EMFILE' || code === 'ENFILE' || /\bE[MN]FILE\b|too many open files/i.test(error.message)) return true;
  return isOutOfDescriptors(error.cause);
}
