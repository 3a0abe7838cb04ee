/**
 * Catches signals for a command that runs a relay, before any other module is loaded: Node resets the dispositions that
 * its parent process set, so that even under nohup SIGHUP would end the relay. This file imports nothing, because it
 * must work even if no other module can be loaded.
 */

/** How a command acts on signals once it has a relay. */
export interface SignalActions {
  /** Ends the command. */
  readonly end: (signal: NodeJS.Signals) => void;
  /** Reads settings and files again. */
  readonly reload: () => void;
  /** Turns debug logging on or off. */
  readonly toggleDebug: () => void;
}

/** Windows sends SIGHUP when a console closes, and ends the process soon after. */
const ENDS: readonly NodeJS.Signals[] =
  process.platform === 'win32' ? ['SIGINT', 'SIGTERM', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];

let actions: SignalActions | undefined;
/** Signals that arrived before there was a relay. */
const missed = { reload: false, toggleDebug: false };

/** Catches signals from now on. Until {@link heedSignals}, a signal that ends programs by default ends this one. */
export function catchSignals(): void {
  for (const signal of ENDS) process.on(signal, () => (actions ? actions.end(signal) : endBySignal(signal)));
  if (!ENDS.includes('SIGHUP')) {
    process.on('SIGHUP', () => {
      if (actions) actions.reload();
      else missed.reload = true;
    });
  }
  // Without a handler, SIGUSR1 opens Node's debugger.
  process.on('SIGUSR1', () => {
    if (actions) actions.toggleDebug();
    else missed.toggleDebug = !missed.toggleDebug;
  });
  // Reserved for upgrades.
  process.on('SIGUSR2', () => {});
  closeDebugger();
}

/** Passes signals to `next`, earlier ones included. */
export function heedSignals(next: SignalActions): void {
  actions = next;
  if (missed.toggleDebug) next.toggleDebug();
  if (missed.reload) next.reload();
}

/**
 * Ends the process as the signal ends a program that does not catch it. `process.exit` would wait for pending reads,
 * such as of a file on a network that is down. The default action does not apply to process 1, so process 1 exits with
 * status 0.
 */
export function endBySignal(signal: NodeJS.Signals): void {
  if (process.pid === 1) process.exit(0);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** Closes the debugger that a SIGUSR1 opened while Node itself started, unless a debugger was requested. */
function closeDebugger(): void {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(' ')];
  if (options.some((option) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(option))) return;
  const inspector = process.getBuiltinModule('node:inspector');
  if (inspector?.url()?.startsWith(`ws://127.0.0.1:${process.debugPort}/`)) inspector.close();
}
