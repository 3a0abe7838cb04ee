/** The record of a benchmark: enough to draw table and picture again, and to continue an interrupted benchmark. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { counted } from '../words/counted.js';
import { type FigureKey, figureOf, type Report, type Spread, spreadOf } from './figures.js';
import type { Machine } from './machine.js';
import type { Scenario } from './scenarios.js';

export const RECORD_FORMAT = 1;

/** The part of a contender that the record keeps. */
export interface Participant {
  readonly name: string;
  /** Its version, and how it was built or where it was found. */
  readonly about: string;
}

export interface Absent {
  readonly name: string;
  readonly why: string;
}

/** An attempt that was discarded, because other processes used the machine. */
export interface Disturbed {
  /** The foreign load in cores. */
  readonly foreignLoad: number;
}

export interface Run {
  readonly scenario: string;
  readonly contender: string;
  /** The runs of one round follow each other directly, and are compared with each other. */
  readonly round: number;
  /** CPU time of other processes than relay, generator and burners, in cores; absent if the system does not tell. */
  readonly foreignLoad?: number;
  /** Discarded attempts before this one. */
  readonly repeated?: readonly Disturbed[];
  /** True if other processes disturbed this run, too. */
  readonly disturbed?: true;
  /** Absent if the run failed; {@link Run.error} says why. */
  readonly report?: Report;
  readonly error?: string;
}

export interface RunRecord {
  readonly format: typeof RECORD_FORMAT;
  readonly date: string;
  readonly profile: string;
  /** Whether every planned run was measured. */
  complete: boolean;
  readonly rounds: number;
  readonly seconds: number;
  /** A run with more foreign load than this is repeated; in cores. */
  readonly calm: number;
  readonly machine: Machine;
  /** The cores of the relay and of the generator, if they are separate. */
  readonly cores?: { readonly relay: string; readonly generator: string };
  readonly contenders: readonly Participant[];
  readonly absent: readonly Absent[];
  readonly baseline: string;
  readonly scenarios: readonly Scenario[];
  readonly runs: Run[];
}

/** Reads a record. Throws an Error that says what is wrong with the file. */
export function readRecord(path: string): RunRecord {
  const record = JSON.parse(readFileSync(path, 'utf8')) as RunRecord;
  if (record.format !== RECORD_FORMAT)
    throw new Error(`${path} is no record of a benchmark that this version can read`);
  return record;
}

/**
 * Joins records of equal contenders, so that rows of separate benchmarks appear in one table. Machine, date and profile
 * are those of the first record. Throws an Error if the contenders differ, or if two records share a row.
 */
export function joined([first, ...others]: readonly [RunRecord, ...RunRecord[]]): RunRecord {
  const named = ({ contenders }: RunRecord) => JSON.stringify(contenders);
  const scenarios = [...first.scenarios];
  for (const other of others) {
    if (named(other) !== named(first)) throw new Error('the records have different contenders');
    const twice = other.scenarios.find(({ id }) => scenarios.some((scenario) => scenario.id === id));
    if (twice) throw new Error(`two of the records have the row ${twice.id}`);
    scenarios.push(...other.scenarios);
  }
  return { ...first, scenarios, runs: [first, ...others].flatMap(({ runs }) => runs) };
}

/** Writes the record atomically, one run on each line. */
export function writeRecord(path: string, record: RunRecord): void {
  const { runs, scenarios, ...head } = record;
  const list = (name: string, entries: readonly unknown[]) =>
    `  ${JSON.stringify(name)}: [${entries.map((entry) => `\n    ${JSON.stringify(entry, rounded)}`).join(',')}\n  ]`;
  const opening = JSON.stringify(head, null, 2).slice(0, -2);
  mkdirSync(dirname(path), { recursive: true });
  const unfinished = `${path}.unfinished`;
  writeFileSync(unfinished, `${opening},\n${list('scenarios', scenarios)},\n${list('runs', runs)}\n}\n`);
  renameSync(unfinished, path);
}

/** Rounds to six digits; further digits are noise. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** The values of one figure over all rounds of one contender. */
export function spreadFor(record: RunRecord, scenario: string, contender: string, key: FigureKey): Spread | undefined {
  return spreadOf(
    runsOf(record, scenario, contender).flatMap(({ report }) => {
      const value = report && figureOf(report, key);
      return value === undefined ? [] : [value];
    }),
  );
}

/** One contender's values divided by the other's, round by round. Skips rounds in which one of them is missing. */
export function ratioFor(
  record: RunRecord,
  scenario: string,
  [contender, other]: readonly [string, string],
  key: FigureKey,
): Spread | undefined {
  const others = runsOf(record, scenario, other);
  return spreadOf(
    runsOf(record, scenario, contender).flatMap(({ round, report }) => {
      const partner = others.find((run) => run.round === round)?.report;
      const value = report && figureOf(report, key);
      const reference = partner && figureOf(partner, key);
      return value !== undefined && reference !== undefined && reference > 0 ? [value / reference] : [];
    }),
  );
}

export function runsOf(record: RunRecord, scenario: string, contender: string): Run[] {
  return record.runs.filter((run) => run.scenario === scenario && run.contender === contender);
}

/** The number of rounds, in words; fewer than planned if the benchmark was cut short. */
export function roundsIn(record: RunRecord): string {
  const measuredIn = new Map<string, Set<number>>();
  for (const { scenario, round } of record.runs) {
    measuredIn.set(scenario, (measuredIn.get(scenario) ?? new Set()).add(round));
  }
  const counts = [...measuredIn.values()].map(({ size }) => size);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const measured = least === most ? `${most}` : `${least} to ${most}`;
  const planned = least < record.rounds ? ` of ${record.rounds}` : '';
  return counted(record.rounds, 'round', `${measured}${planned}`);
}

/** The contenders of a scenario, in the record's order. Each number of workers counts as a contender. */
export function contendersIn(record: RunRecord, scenario: string): string[] {
  const names = new Set(record.runs.filter((run) => run.scenario === scenario).map((run) => run.contender));
  return [...names];
}

/** The contender that the others are compared with, if it was measured. */
export function baselineIn(record: RunRecord, scenario: string): string | undefined {
  const there = contendersIn(record, scenario);
  return there.includes(record.baseline) ? record.baseline : there.length > 1 ? there[0] : undefined;
}

/** Whether every run has a report, and every relay behaved correctly in it. */
export function isClean(record: RunRecord): boolean {
  return record.runs.every(({ report }) => report?.ok === true);
}
