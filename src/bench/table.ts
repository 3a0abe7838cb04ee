/** Formats the record: a table for the terminal, and one in Markdown. */
import { styleText } from 'node:util';
import { counted } from '../words/counted.js';
import { FIGURES, type Figure, type FigureKey, number, type Spread, times } from './figures.js';
import { baselineIn, contendersIn, isClean, type Run, type RunRecord, ratioFor, runsOf, spreadFor } from './record.js';
import type { Scenario } from './scenarios.js';

type Paint = (format: 'bold' | 'dim' | 'red' | 'green', text: string) => string;

/** The whole record as a table. `colour` is for terminals. */
export function table(record: RunRecord, colour = false): string {
  const paint: Paint = colour
    ? (format, text) => styleText(format, text, { validateStream: false })
    : (_format, text) => text;
  const { machine, contenders, absent, cores, calm } = record;
  const lines = [
    `${machine.cpu}, ${machine.cores} cores, ${machine.kernel}, Node ${machine.node}`,
    ...(cores
      ? [`relays on core ${cores.relay}, the generator on ${cores.generator}`]
      : ['relays and generator share the cores']),
    ...contenders.map(({ name, about }) => `${name}: ${about}`),
    ...absent.map(({ name, why }) => `${name} is not measured: ${why}`),
  ];
  for (const scenario of record.scenarios) {
    const block = blockOf(record, scenario, paint);
    if (block.length > 0) lines.push('', ...block);
  }
  const disturbed = record.runs.filter((run) => run.disturbed).length;
  const repeated = record.runs.reduce((sum, run) => sum + (run.repeated?.length ?? 0), 0);
  lines.push(
    '',
    `${record.runs.length} runs; ${repeated} were repeated because of a foreign load above ${calm} cores; ${disturbed} stayed above it`,
  );
  if (!record.complete) {
    const measured = new Set(record.runs.map(({ scenario }) => scenario));
    const without = record.scenarios.filter(({ id }) => !measured.has(id)).map(({ id }) => id);
    lines.push(
      'some of the planned runs were not measured',
      ...(without.length > 0 ? [`rows without any: ${without.join(' ')}`] : []),
    );
  }
  if (!isClean(record)) lines.push(paint('red', 'there are failed runs'));
  return `${lines.join('\n')}\n`;
}

/** One scenario: a row for each figure, a column for each contender. */
function blockOf(record: RunRecord, scenario: Scenario, paint: Paint): string[] {
  const contenders = contendersIn(record, scenario.id);
  const baseline = baselineIn(record, scenario.id);
  if (contenders.length === 0) return [];
  const rows = (Object.keys(FIGURES) as FigureKey[]).flatMap((key) => {
    const spreads = contenders.map((name) => spreadFor(record, scenario.id, name, key));
    if (spreads.every((spread) => spread === undefined)) return [];
    const cells = spreads.map((spread, index) => {
      const name = contenders[index] as string;
      const ratio =
        baseline !== undefined && name !== baseline && 'better' in FIGURES[key]
          ? ratioFor(record, scenario.id, [name, baseline], key)
          : undefined;
      return { text: spread ? spreadText(spread, FIGURES[key].digits) : '–', ratio };
    });
    return [{ key, name: FIGURES[key].name, cells }];
  });
  const first = Math.max(...rows.map(({ name }) => name.length), 0);
  const widths = contenders.map((name, index) =>
    Math.max(name.length, ...rows.map(({ cells }) => plain(cells[index]).length)),
  );
  const rounds = new Set(record.runs.filter((run) => run.scenario === scenario.id).map(({ round }) => round)).size;
  return [
    `${paint('bold', `${scenario.title}, ${scenario.transport === 'tls' ? 'TLS' : 'plain'}`)}${paint('dim', ` · ${scenario.id} · ${counted(rounds, 'round')}`)}`,
    ...(rows.length > 0
      ? [`  ${''.padEnd(first)}${contenders.map((name, i) => `  ${name.padStart(widths[i] as number)}`).join('')}`]
      : []),
    ...rows.map(({ key, name, cells }) => {
      const shown = cells.map((cell, index) => {
        const padding = ' '.repeat((widths[index] as number) - plain(cell).length);
        return `  ${padding}${cell.text}${cell.ratio ? ` ${judged(cell.ratio, FIGURES[key], paint)}` : ''}`;
      });
      return `  ${name.padEnd(first)}${shown.join('')}`;
    }),
    ...contenders.flatMap((name) =>
      notes(runsOf(record, scenario.id, name)).map((note) => `  ${paint('dim', `${name}: ${note}`)}`),
    ),
  ];
}

function plain(cell: { readonly text: string; readonly ratio: Spread | undefined } | undefined): string {
  return cell ? cell.text + (cell.ratio ? ` ${times(cell.ratio.median)}` : '') : '';
}

function judged({ median }: Spread, { better }: Figure, paint: Paint): string {
  const good = better === 'less' ? median < 1 : median > 1;
  return paint(good ? 'green' : 'red', times(median));
}

function spreadText({ least, median, most }: Spread, digits: number): string {
  const [a, b, c] = [least, median, most].map((value) => number(value, digits));
  return a === c ? (b as string) : `${b} (${a}–${c})`;
}

/** Notes about the runs that belong beside their figures. */
export function notes(runs: readonly Run[]): string[] {
  const limited = runs.filter(({ report }) => report?.generator_limited).length;
  const disturbed = runs.filter((run) => run.disturbed).length;
  const of = (count: number) => (runs.length > 1 ? ` in ${count} of ${runs.length} runs` : '');
  return [
    ...(limited > 0 ? [`generator-limited${of(limited)}: the relay may do better than this`] : []),
    ...(disturbed > 0 ? [`others used the machine${of(disturbed)}`] : []),
    ...runs.flatMap(({ report, error }) =>
      error === undefined
        ? (report?.faults ?? []).map((fault) => `FAILED: ${fault}`)
        : [`FAILED: ${error.split('\n', 1)[0]}`],
    ),
  ];
}

/** A Markdown table of each scenario's headline figure: median, range, and ratio to the baseline. */
export function markdown(record: RunRecord): string {
  const names = record.contenders.map(({ name }) => name);
  const isOverFloor = names.includes('native') && names.includes('floor');
  const overFloor = ({ id, headline }: Scenario): string[] => {
    const ratio = isOverFloor ? ratioFor(record, id, ['native', 'floor'], headline) : undefined;
    return isOverFloor ? [ratio ? times(ratio.median) : '–'] : [];
  };
  const rows = record.scenarios.flatMap((scenario) => {
    const there = contendersIn(record, scenario.id);
    // A scenario that none of the contenders was measured in has no row.
    if (!there.some((name) => names.includes(name))) return [];
    const figure: Figure = FIGURES[scenario.headline];
    const cells = names.map((name) => cellOf(record, scenario, name, figure.digits));
    const transport = scenario.transport === 'tls' ? 'TLS' : 'plain';
    return [`| ${transport}: ${scenario.title} | ${figure.name} | ${[...cells, ...overFloor(scenario)].join(' | ')} |`];
  });
  const columns = [...names, ...(isOverFloor ? ['native ÷ floor'] : [])];
  return [`| | | ${columns.join(' | ')} |`, `|---|---|${columns.map(() => '---|').join('')}`, ...rows].join('\n');
}

function cellOf(record: RunRecord, { id, headline }: Scenario, name: string, digits: number): string {
  const spread = spreadFor(record, id, name, headline);
  if (!spread) return '–';
  // Memory growth can be negative, if a process returns what its start took; a ratio would mean nothing then.
  const comparable = name !== record.baseline && spread.least > 0;
  const ratio = comparable ? ratioFor(record, id, [name, record.baseline], headline) : undefined;
  const limited = runsOf(record, id, name).some(({ report }) => report?.generator_limited) ? ' ¹' : '';
  return `${spreadText(spread, digits)}${ratio ? ` **${times(ratio.median)}**` : ''}${limited}`;
}
