/**
 * Keeps the process small while a relay starts, and on the native plane until the thread of JavaScript has work. Loading the
 * modules makes much garbage in little time, and so do some thousand clients that come at once: V8 answers with a young generation
 * of 16 MiB and with optimized code for functions that have little left to do, and gives neither back to the system.
 */
import { performance } from 'node:perf_hooks';
import { setFlagsFromString } from 'node:v8';

/** Milliseconds between looks at the thread's work. */
const LOOKS = 1000;
/** Milliseconds of work in that time that are little: 500 logins in a second take half as much. */
const LITTLE = 50;
/** Milliseconds of work beyond that, after which faster code is worth its memory. */
const MUCH = 500;

/** Until {@link endSmallStart}, the young generation stays at its first size and nothing is optimized. */
export function beginSmallStart(): void {
  if (isTuned()) return;
  setFlagsFromString('--semi-space-growth-factor=1');
  setFlagsFromString('--no-opt');
}

/** From now on V8 does what it does by default. */
export function endSmallStart(): void {
  if (isTuned()) return;
  setFlagsFromString('--semi-space-growth-factor=2');
  setFlagsFromString('--opt');
}

/** The same, as soon as the thread of JavaScript has been busy. On the native plane it has no part in packets. */
export function endSmallStartWhenBusy(): void {
  if (isTuned()) return;
  let seen = performance.eventLoopUtilization().active;
  let work = 0;
  const timer = setInterval(() => {
    const { active } = performance.eventLoopUtilization();
    work = Math.max(0, work + (active - seen) - LITTLE);
    seen = active;
    if (work < MUCH) return;
    clearInterval(timer);
    endSmallStart();
  }, LOOKS).unref();
}

/** Whether the operator has set such flags: those stay as they are. */
function isTuned(): boolean {
  return /semi.space|\bno.?opt\b|--opt\b|turbofan/.test(
    [...process.execArgv, process.env.NODE_OPTIONS ?? ''].join(' '),
  );
}
