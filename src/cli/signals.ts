/**
 * What signals mean to a command that runs a relay. They are caught before anything else is loaded: Node resets what its
 * parent process has set, so that SIGHUP would end the relay under nohup, too. This file imports nothing, and has to work
 * where nothing else can be loaded.
 */

/** What a command does about signals once it has a relay. */
export interface SignalActions {
  /** Ends the command. */
  readonly end: (signal: NodeJS.Signals) => void;
  /** Reads settings and files again. */
  readonly reload: () => void;
  /** Turns debug logging on, and off again. */
  readonly toggleDebug: () => void;
}

/** Windows sends SIGHUP when a console is closed, and ends the process soon after. */
const ENDS: readonly NodeJS.Signals[] =
  process.platform === 'win32' ? ['SIGINT', 'SIGTERM', 'SIGBREAK', 'SIGHUP'] : ['SIGINT', 'SIGTERM'];

let actions: SignalActions | undefined;
/** What was asked for before there was a relay. */
const missed = { reload: false, toggleDebug: false };

/** Catches signals from here on. Until {@link heedSignals}, those that end a program end this one. */
export function catchSignals(): void {
  for (const signal of ENDS) process.on(signal, () => (actions ? actions.end(signal) : endBySignal(signal)));
  if (!ENDS.includes('SIGHUP')) {
    process.on('SIGHUP', () => {
      if (actions) actions.reload();
      else missed.reload = true;
    });
  }
  // Without a handler, Node opens its debugger on SIGUSR1.
  process.on('SIGUSR1', () => {
    if (actions) actions.toggleDebug();
    else missed.toggleDebug = !missed.toggleDebug;
  });
  // Reserved for upgrades.
  process.on('SIGUSR2', () => {});
  closeDebugger();
}

/** Hands the signals over, with those that came before. */
export function heedSignals(next: SignalActions): void {
  actions = next;
  if (missed.toggleDebug) next.toggleDebug();
  if (missed.reload) next.reload();
}

/**
 * Ends the process as the signal ends a program that does not catch it, whatever still waits: a read of a file on a network
 * that is down would hold `process.exit` up. To process 1 such a signal does nothing, so that process 1 exits with status 0.
 */
export function endBySignal(signal: NodeJS.Signals): void {
  if (process.pid === 1) process.exit(0);
  process.removeAllListeners(signal);
  process.kill(process.pid, signal);
}

/** Closes the debugger that a SIGUSR1 has opened while Node itself started; not one that somebody has asked for. */
function closeDebugger(): void {
  const options = [...process.execArgv, ...(process.env.NODE_OPTIONS ?? '').split(' ')];
  if (options.some((option) => /^--inspect(?:-brk|-wait)?(?:=|$)/.test(option))) return;
  const inspector = process.getBuiltinModule('node:inspector');
  if (inspector?.url()?.startsWith(`ws://127.0.0.1:${process.debugPort}/`)) inspector.close();
}
