/** Both planes play the same trace. The JS plane, the readable one, says what should have happened. */
import type { Lane } from '../helpers/lanes.js';
import { laneNamed } from '../helpers/lanes.js';
import { SEED } from '../helpers/random.js';
import type { TlsVersion } from './peer.js';
import { type Play, play } from './play.js';
import type { Rig } from './rig.js';
import { shrink } from './shrink.js';
import { type Step, traceOf } from './steps.js';

export const TRACES = 2000;
export const STEPS = 200;
/** Traces at once: while one waits for a thread of the native plane, another goes on. */
const AT_ONCE = 4;
/** Looks at shorter traces, and milliseconds, before the shortest of them is good enough: one that waits in vain is slow. */
const SHRINKING = { tries: 250, time: 60_000 };

/**
 * Times that a trace is played while packets grow too old in it. On a busy machine a client that reads may read so slowly
 * that packets for it are dropped by age: the clock decides that, and no two relays have to agree about it.
 */
const MOST_AGED = 4;

/** Prepares the relay that is looked at, once it is open. */
export type Prepare = (rig: Rig) => void;

export interface Failure {
  /** The how manieth of its run. */
  readonly index: number;
  readonly seed: number;
  readonly tls: TlsVersion | undefined;
  readonly problem: string;
  readonly steps: readonly Step[];
}

export interface Search {
  /** Traces. */
  readonly played: number;
  /** What happened in them. */
  readonly tally: ReadonlyMap<string, number>;
  readonly failure: Failure | undefined;
}

/** The seed of a run's trace; a run of one trace that begins with this seed is that trace. */
export function seedOf(index: number): number {
  return (SEED + index * 1_000_003) % 2 ** 31;
}

/** What the relay that is looked at is spoken to over, in the trace of a seed: one in four has TLS. */
export function tlsOf(seed: number): TlsVersion | undefined {
  return (['TLSv1.3', 'TLSv1.2'] as const)[seed % 8];
}

/** What is wrong with `lane`, if anything is; the oracle is spoken to without TLS. What has happened there is added to `tally`. */
export async function problemOf(
  lane: Lane,
  steps: readonly Step[],
  prepare?: Prepare,
  tally = new Map<string, number>(),
  tls?: TlsVersion,
): Promise<string | undefined> {
  for (let time = 1; ; time++) {
    const [oracle, played] = await Promise.all([play(laneNamed('js'), steps), play(lane, steps, prepare, tls)]);
    const problem = difference('js', oracle, lane.name, played);
    const aged = [oracle, played].some((relay) => relay.tally.has('dropped: queue_age'));
    if (problem !== undefined && aged && time < MOST_AGED) continue;
    const over = `over ${tls ?? 'TCP'}`;
    tally.set(over, (tally.get(over) ?? 0) + 1);
    for (const [what, times] of played.tally) tally.set(what, (tally.get(what) ?? 0) + times);
    return problem;
  }
}

/** Plays traces until one fails. `indices` are the run's. */
export async function findFailure(
  lane: Lane,
  indices: Iterable<number>,
  prepare?: Prepare,
  atOnce = AT_ONCE,
): Promise<Search> {
  const rest = indices[Symbol.iterator]();
  let played = 0;
  let failure: Failure | undefined;
  const tally = new Map<string, number>();
  const walk = async () => {
    for (let next = rest.next(); !next.done && !failure; next = rest.next()) {
      const seed = seedOf(next.value);
      const steps = traceOf(seed, STEPS);
      const tls = tlsOf(seed);
      const problem = await problemOf(lane, steps, prepare, tally, tls);
      played += 1;
      if (problem !== undefined) failure ??= { index: next.value, seed, tls, problem, steps };
    }
  };
  await Promise.all(Array.from({ length: atOnce }, walk));
  return { played, tally, failure };
}

/** The same failure, or another one, in fewer steps. */
export async function shortest(lane: Lane, failure: Failure, prepare?: Prepare): Promise<Failure> {
  let { problem } = failure;
  const end = performance.now() + SHRINKING.time;
  const fails = async (steps: readonly Step[]) => {
    if (performance.now() > end) return false;
    // What threads do to each other does not happen every time.
    for (let time = 0; time < 2; time++) {
      const found = await problemOf(lane, steps, prepare, undefined, failure.tls);
      if (found !== undefined) problem = found;
      if (found !== undefined) return true;
    }
    return false;
  };
  const steps = await shrink(failure.steps, fails, SHRINKING.tries);
  return { ...failure, steps, problem };
}

export function report(found: Failure, short: Failure): string {
  return [
    `trace ${found.seed}, over ${found.tls ?? 'TCP'}: ${found.problem}`,
    '',
    `again: DERPKIT_SEED=${found.seed} DERPKIT_TRACES=1 npx vitest run --project model traces-first`,
    '',
    `${short.steps.length} of its ${found.steps.length} steps are enough for: ${short.problem}`,
    ...short.steps.map((step) => `  ${JSON.stringify(step)}`),
  ].join('\n');
}

function difference(nameA: string, a: Play, nameB: string, b: Play): string | undefined {
  for (const [name, { findings }] of [
    [nameA, a],
    [nameB, b],
  ] as const) {
    if (findings.length > 0) return `${name}: ${findings.join('; ')}`;
  }
  const lines = Math.max(a.log.length, b.log.length);
  for (let at = 0; at < lines; at++) {
    if (a.log[at] === b.log[at]) continue;
    return [`line ${at} differs`, `  ${nameA}: ${a.log[at]}`, `  ${nameB}: ${b.log[at]}`].join('\n');
  }
  return undefined;
}
