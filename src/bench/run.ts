/** The order of the runs (A B C A B C), their repetition, and what the record keeps. */

import { counted } from '../words/counted.js';
import type { Contender } from './contenders.js';
import type { Stage } from './measure.js';
import type { Progress } from './progress.js';
import { type Disturbed, type Run, type RunRecord, runsOf } from './record.js';
import type { Profile, Scenario } from './scenarios.js';

/** A run with more foreign load than this is repeated; in cores. */
export const CALM = 0.15;

interface Step {
  readonly scenario: Scenario;
  readonly contender: Contender;
  /** The contender's name in the record, with its number of workers where those are compared. */
  readonly name: string;
  readonly round: number;
  readonly workers?: number;
}

/**
 * The runs of a profile that the record lacks, in their order. The rounds are the outer loop: a change of the machine
 * over an hour affects all contenders alike, and an interrupted benchmark still has a complete table.
 */
export function steps(profile: Profile, contenders: readonly Contender[], record: RunRecord): Step[] {
  const all: Step[] = [];
  for (let round = 0; round < profile.rounds; round += 1) {
    for (const scenario of profile.scenarios) {
      for (const contender of contenders.filter(({ takes }) => takes(scenario))) {
        const step = { scenario, contender, round };
        if (!scenario.workers) all.push({ ...step, name: contender.name });
        for (const workers of scenario.workers ?? []) {
          all.push({ ...step, name: `${contender.name}, ${counted(workers, 'worker')}`, workers });
        }
      }
    }
  }
  const there = ({ scenario, name, round }: Step) =>
    runsOf(record, scenario.id, name).some((run) => run.round === round && run.report !== undefined);
  return all.filter((step) => !there(step));
}

export interface Watched {
  readonly stage: Stage;
  readonly progress: Progress;
  /** Called after each run. */
  readonly onRun: () => void;
  readonly signal: AbortSignal;
}

/**
 * Measures the runs that the record lacks. The record is complete then, unless the benchmark was interrupted or reached
 * its time limit.
 */
export async function runAll(
  profile: Profile,
  contenders: readonly Contender[],
  record: RunRecord,
  { stage, progress, onRun, signal }: Watched,
): Promise<void> {
  const todo = steps(profile, contenders, record);
  const begin = performance.now();
  progress.begin(todo.length);
  for (const step of todo) {
    if (profile.limit !== undefined && performance.now() - begin > profile.limit * 1000) {
      progress.say(`the time limit of ${profile.limit} s is reached: no further run starts`);
      return;
    }
    progress.step(`${step.scenario.transport}: ${step.scenario.title} · ${step.name} · ${step.round + 1}`);
    const run = await measureCalmly(step, profile.retries, stage, signal);
    if (signal.aborted) return;
    // A new measurement replaces a failed one.
    const before = record.runs.findIndex(
      ({ scenario, contender, round }) =>
        scenario === run.scenario && contender === run.contender && round === run.round,
    );
    if (before >= 0) record.runs.splice(before, 1);
    for (const line of troubleOf(run)) progress.say(`${step.scenario.id}, ${step.name}: ${line}`);
    // Lines after the first may name directories of this machine; only the user sees them.
    const error = run.error?.split('\n', 1)[0];
    record.runs.push({ ...run, ...(error !== undefined && { error }) });
    onRun();
  }
  record.complete = true;
}

function troubleOf({ report, error }: Run): readonly string[] {
  return error !== undefined ? [error] : report?.ok === false ? (report.faults ?? ['it failed']) : [];
}

/**
 * Measures a step, and repeats it while other processes use the machine. Keeps the run with the least foreign load; a
 * run with a wrong result always counts.
 */
async function measureCalmly(step: Step, retries: number, stage: Stage, signal: AbortSignal): Promise<Run> {
  const { scenario, contender, name, round, workers } = step;
  const base = { scenario: scenario.id, contender: name, round };
  const tried: Run[] = [];
  for (;;) {
    const run = await measureOnce(base, () => stage.measure(contender, scenario, workers));
    if (run.report?.ok !== true || signal.aborted) return run;
    tried.push(run);
    if ((run.foreignLoad ?? 0) <= CALM || tried.length > retries) break;
  }
  const load = (run: Run) => run.foreignLoad ?? 0;
  const best = tried.reduce((calmest, run) => (load(run) < load(calmest) ? run : calmest));
  const repeated = tried.filter((run) => run !== best).map((run): Disturbed => ({ foreignLoad: load(run) }));
  return {
    ...best,
    ...(repeated.length > 0 && { repeated }),
    ...(load(best) > CALM && { disturbed: true }),
  };
}

async function measureOnce(
  base: Pick<Run, 'scenario' | 'contender' | 'round'>,
  measure: () => ReturnType<Stage['measure']>,
): Promise<Run> {
  try {
    const report = await measure();
    const percent = report.others_cpu_percent;
    return { ...base, ...(percent !== undefined && { foreignLoad: percent / 100 }), report };
  } catch (error) {
    return { ...base, error: (error as Error).message };
  }
}
