/** How the commands end: what they print, and with which status. */
import { ConfigError, ListenError, type ListenSetting } from '../errors.js';
import type { Relay } from '../relay.js';

/** The user's own spelling of a setting: a flag, a variable, a line of a file. */
export type Spelling = (setting: string) => string;

/** Starts the relay, and runs it until SIGINT or SIGTERM. Returns the exit status. */
export async function runUntilSignal(relay: Relay, onStarted: () => void | Promise<void>): Promise<number> {
  const stopped = new Promise<string>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve(signal));
  });
  const failed = new Promise<'fault'>((resolve) => {
    relay.once('fault', () => resolve('fault'));
  });
  await relay.start();
  await onStarted();
  const end = await Promise.race([stopped, failed]);
  relay.logger.info({ because: end }, 'stopping');
  await relay.close();
  return end === 'fault' ? 1 : 0;
}

/** One line for each thing that is wrong, naming it as the user does; the stack only of what is our fault. */
export function explain(program: string, error: unknown, spelling: Spelling): string {
  if (error instanceof ConfigError) {
    return error.problems.map(({ path, message }) => `${program}: ${spelt(path, spelling)}: ${message}\n`).join('');
  }
  if (error instanceof ListenError) return `${program}: ${error.message}: ${listenAdvice(error, spelling)}\n`;
  if (error instanceof Error && 'code' in error) return `${program}: ${error.message}\n`;
  return `${program}: ${error instanceof Error ? error.stack : String(error)}\n`;
}

/** `certificate.key` is the setting `certificate`. */
function spelt(path: string, spelling: Spelling): string {
  const [setting = '', ...rest] = path.split('.');
  return [spelling(setting), ...rest].join('.');
}

const WAYS_OUT: Record<ListenSetting, string> = {
  listen: 'another port',
  httpPort: 'another port, or -1 for none,',
  stunPort: 'another port',
};

function listenAdvice({ setting, cause }: ListenError, spelling: Spelling): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  const choose = `choose ${WAYS_OUT[setting]} with ${spelling(setting)}`;
  if (code === 'EADDRINUSE') return `the port is already in use; ${choose}`;
  if (code === 'EACCES') return `the port needs privileges; ${choose}`;
  return `${message}; ${choose}`;
}
