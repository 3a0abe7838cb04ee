/** What was measured, as it is kept: enough to draw everything anew, and to go on where a run was interrupted. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { type FigureKey, figureOf, type Report, type Spread, spreadOf } from './figures.js';
import type { Machine } from './machine.js';
import type { Scenario } from './scenarios.js';

export const RECORD_FORMAT = 1;

/** A contender, as far as somebody else has to know of it. */
export interface Participant {
  readonly name: string;
  /** Its version, and how it was built or where it was found. */
  readonly about: string;
}

export interface Absent {
  readonly name: string;
  readonly why: string;
}

/** One try that was given up, because others used the machine. */
export interface Disturbed {
  /** In cores. */
  readonly foreignLoad: number;
}

export interface Run {
  readonly scenario: string;
  readonly contender: string;
  /** Runs of one round were made one after the other, and are compared with each other. */
  readonly round: number;
  /** CPU time that neither relay nor generator nor burner had, in cores; absent where the system does not say. */
  readonly foreignLoad?: number;
  /** Tries before this one. */
  readonly repeated?: readonly Disturbed[];
  /** This one was disturbed too. */
  readonly disturbed?: true;
  /** Absent if there were no figures, for {@link Run.error}. */
  readonly report?: Report;
  readonly error?: string;
}

export interface RunRecord {
  readonly format: typeof RECORD_FORMAT;
  readonly date: string;
  readonly profile: string;
  /** Not all that was planned was measured. */
  complete: boolean;
  readonly rounds: number;
  readonly seconds: number;
  /** Above so many cores of foreign load a run is repeated. */
  readonly calm: number;
  readonly machine: Machine;
  /** The relay's cores and the generator's, where they are kept apart. */
  readonly cores?: { readonly relay: string; readonly generator: string };
  readonly contenders: readonly Participant[];
  readonly absent: readonly Absent[];
  readonly baseline: string;
  readonly scenarios: readonly Scenario[];
  readonly runs: Run[];
}

/** Throws an Error that says what is wrong with the file. */
export function readRecord(path: string): RunRecord {
  const record = JSON.parse(readFileSync(path, 'utf8')) as RunRecord;
  if (record.format !== RECORD_FORMAT)
    throw new Error(`${path} is no record of a benchmark that this version can read`);
  return record;
}

/**
 * Several records of the same contenders as one, so that rows of separate runs can stand in one table. The first record
 * gives the machine, the date and the profile. Throws an Error if the contenders differ, or if two records have one row.
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

/** One run a line. Whole or not at all. */
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

/** More digits than these are noise. */
function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
}

/** The values of one figure, of all rounds of one contender. */
export function spreadFor(record: RunRecord, scenario: string, contender: string, key: FigureKey): Spread | undefined {
  return spreadOf(
    runsOf(record, scenario, contender).flatMap(({ report }) => {
      const value = report && figureOf(report, key);
      return value === undefined ? [] : [value];
    }),
  );
}

/** A contender's value by the other's, of the same round each; rounds that lack one of the two are left out. */
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

/** How often everybody was measured, in words; of a run that was cut short that is less than was planned. */
export function roundsIn(record: RunRecord): string {
  const measuredIn = new Map<string, Set<number>>();
  for (const { scenario, round } of record.runs) {
    measuredIn.set(scenario, (measuredIn.get(scenario) ?? new Set()).add(round));
  }
  const counts = [...measuredIn.values()].map(({ size }) => size);
  const [least, most] = [Math.min(...counts), Math.max(...counts)];
  const measured = least === most ? `${most}` : `${least} to ${most}`;
  const planned = least < record.rounds ? ` of ${record.rounds}` : '';
  return `${measured}${planned} ${record.rounds === 1 ? 'round' : 'rounds'}`;
}

/** Who was measured in a scenario, in the record's order; the workers of one contender are several. */
export function contendersIn(record: RunRecord, scenario: string): string[] {
  const names = new Set(record.runs.filter((run) => run.scenario === scenario).map((run) => run.contender));
  return [...names];
}

/** The one that the others are compared with, of those that were measured. */
export function baselineIn(record: RunRecord, scenario: string): string | undefined {
  const there = contendersIn(record, scenario);
  return there.includes(record.baseline) ? record.baseline : there.length > 1 ? there[0] : undefined;
}

/** No relay did what none may, and none failed to be measured. */
export function isClean(record: RunRecord): boolean {
  return record.runs.every(({ report }) => report?.ok === true);
}
