/**
 * Draws the record: how many times better than the baseline each contender is. Readable on light and dark background.
 */
import { FIGURES, type Figure, number, type Spread, times } from './figures.js';
import { type RunRecord, ratioFor, roundsIn, spreadFor } from './record.js';
import type { Scenario } from './scenarios.js';

const WIDTH = 960;
const ROW = 42;
const TOP = 96;
const BOTTOM = 58;
/** The horizontal extent of the axis; the scenario stands left of it, the medians right of it. */
const AXIS = { from: 330, to: 690 };
const COLUMN = 86;
const COLOURS = ['a', 'b', 'c', 'd'] as const;

const STYLE = `
    text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #1f2328 }
    .head { font-size: 17px; font-weight: 600 }
    .dim { fill: #59636e; font-size: 11px }
    .right { text-anchor: end }
    .middle { text-anchor: middle }
    .back { fill: #ffffff }
    .stripe { fill: #f6f8fa }
    .grid { stroke: #d1d9e0 }
    .one { stroke: #59636e; stroke-width: 1.5 }
    .a { fill: #0969da; stroke: #0969da } .b { fill: #bc4c00; stroke: #bc4c00 }
    .c { fill: #8250df; stroke: #8250df } .d { fill: #1a7f37; stroke: #1a7f37 }
    text.a, text.b, text.c, text.d { stroke: none }
    .floor { stroke-width: 2 } circle.floor { fill: none }
    .range { stroke-width: 2; stroke-linecap: round }
    @media (prefers-color-scheme: dark) {
      text { fill: #f0f6fc }
      .dim { fill: #9198a1 }
      .back { fill: #0d1117 }
      .stripe { fill: #151b23 }
      .grid { stroke: #3d444d }
      .one { stroke: #9198a1 }
      .a { fill: #4493f8; stroke: #4493f8 } .b { fill: #f0883e; stroke: #f0883e }
      .c { fill: #ab7df8; stroke: #ab7df8 } .d { fill: #3fb950; stroke: #3fb950 }
    }`;

interface Mark {
  readonly name: string;
  /** How many times better than the baseline. */
  readonly better: Spread;
}

interface Row {
  readonly scenario: Scenario;
  readonly marks: readonly Mark[];
  /** The median of each contender, formatted as in tables. */
  readonly medians: readonly string[];
}

/** The picture as SVG; undefined if the record has no baseline, or nothing to compare. */
export function picture(record: RunRecord): string | undefined {
  const { baseline, contenders } = record;
  const names = contenders.map(({ name }) => name);
  if (!names.includes(baseline)) return undefined;
  const others = names.filter((name) => name !== baseline);
  const rows = record.scenarios
    .map((scenario) => rowOf(record, scenario, names))
    .filter(({ marks }) => marks.length > 0);
  if (rows.length === 0) return undefined;

  const all = rows.flatMap(({ marks }) => marks.flatMap(({ better }) => [better.least, better.most]));
  const scale = scaleOf(Math.min(...all, 0.8), Math.max(...all, 1.25));
  const height = TOP + rows.length * ROW + BOTTOM;
  const end = TOP + rows.length * ROW;
  const classOf = (name: string) => COLOURS[others.indexOf(name) % COLOURS.length] as string;
  const columns = names.map((name, index) => ({ name, x: AXIS.to + 20 + COLUMN * (index + 1) - 10 }));
  const width = Math.max(WIDTH, AXIS.to + 20 + COLUMN * names.length + 10);

  const parts = [
    rect('back', 0, 0, width, height),
    text('head', 20, 32, `How many times better than ${baseline}`),
    text(
      'dim',
      20,
      54,
      `Medians of ${roundsIn(record)} with their ranges, pairwise within a round; logarithmic; right is better.`,
    ),
    ...others.flatMap((name, index) => [
      `<circle class="${classOf(name)}${name === 'floor' ? ' floor' : ''}" cx="${26 + index * 110}" cy="74" r="5"/>`,
      text('', 38 + index * 110, 79, name),
    ]),
    ...columns.map(({ name, x }) => text('dim right', x, TOP - 10, name)),
    ...rows.flatMap((_row, index) => (index % 2 === 0 ? [rect('stripe', 0, TOP + index * ROW, width, ROW)] : [])),
    ...scale.ticks.flatMap((tick) => [
      `<line class="${tick === 1 ? 'one' : 'grid'}" x1="${scale.at(tick).toFixed(1)}" x2="${scale.at(tick).toFixed(1)}" y1="${TOP}" y2="${end}"/>`,
      text('dim middle', scale.at(tick), TOP - 10, tick === 1 ? '1×' : `${tick}×`),
    ]),
    ...rows.flatMap((row, index) => drawn(row, TOP + index * ROW, { scale, classOf, columns })),
    ...footer(record).map((line, index) => text('dim', 20, end + 22 + index * 17, line)),
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">
  <title>${escaped(`${others.join(' and ')} compared with ${baseline}`)}</title>
  <style>${STYLE}
  </style>
  ${parts.join('\n  ')}
</svg>
`;
}

function rowOf(record: RunRecord, scenario: Scenario, names: readonly string[]): Row {
  const { id, headline } = scenario;
  const figure: Figure = FIGURES[headline];
  // A value that is not positive has no ratio, and a row without one of the contenders misleads, so both are omitted.
  const least = names.map((name) => spreadFor(record, id, name, headline)?.least ?? 1);
  const marks = (least.some((value) => value <= 0) ? [] : names)
    .filter((name) => name !== record.baseline)
    .flatMap((name) => {
      // Where less is better, compute the ratio the other way round: for an even number of rounds, the median of 1/x is
      // not 1/median.
      const pair = figure.better === 'less' ? ([record.baseline, name] as const) : ([name, record.baseline] as const);
      const better = ratioFor(record, id, pair, headline);
      return better && better.least > 0 ? [{ name, better }] : [];
    });
  const medians = names.map((name) => {
    const spread = spreadFor(record, id, name, headline);
    return spread ? number(spread.median, figure.digits) : '–';
  });
  return { scenario, marks, medians };
}

interface Drawing {
  readonly scale: Scale;
  readonly classOf: (name: string) => string;
  readonly columns: readonly { readonly name: string; readonly x: number }[];
}

function drawn({ scenario, marks, medians }: Row, y: number, { scale, classOf, columns }: Drawing): string[] {
  const transport = scenario.transport === 'tls' ? 'TLS' : 'plain';
  return [
    text('', 20, y + 18, shortened(scenario.title, 48)),
    text('dim', 20, y + 34, `${transport} · ${FIGURES[scenario.headline].name}`),
    ...marks.map(({ name, better }, index) => {
      // One line for each contender, because the marks may overlap.
      const at = y + (ROW * (index + 1)) / (marks.length + 1);
      const [from, middle, to] = [better.least, better.median, better.most].map((value) => scale.at(value).toFixed(1));
      const shape = name === 'floor' ? `${classOf(name)} floor` : classOf(name);
      return `<g><title>${escaped(`${name}: ${times(better.median)} (${times(better.least)}–${times(better.most)})`)}</title><line class="range ${shape}" x1="${from}" x2="${to}" y1="${at}" y2="${at}"/><circle class="${shape}" cx="${middle}" cy="${at}" r="4.5"/></g>`;
    }),
    ...columns.map(({ x }, index) => text('right', x, y + 25, medians[index] ?? '–')),
  ];
}

interface Scale {
  readonly ticks: readonly number[];
  readonly at: (ratio: number) => number;
}

function scaleOf(least: number, most: number): Scale {
  const [low, high] = [Math.log10(least) - 0.05, Math.log10(most) + 0.05];
  const at = (ratio: number) => AXIS.from + ((Math.log10(ratio) - low) / (high - low)) * (AXIS.to - AXIS.from);
  const decades = [-3, -2, -1, 0, 1, 2, 3, 4].flatMap((decade) => [1, 2, 5].map((step) => step * 10 ** decade));
  const visible = decades.filter((tick) => tick >= least * 0.98 && tick <= most * 1.02);
  // If there are many ticks, only whole decades.
  const fewer = visible.length > 8 ? visible.filter((tick) => Number.isInteger(Math.log10(tick))) : visible;
  return { ticks: fewer.map((tick) => Number(tick.toPrecision(1))), at };
}

function footer({ machine, cores, date, contenders }: RunRecord): string[] {
  const kept = cores
    ? `relay on core ${cores.relay}, generator on ${cores.generator}`
    : 'relay and generator share the cores';
  return [
    `${machine.cpu}, ${machine.cores} cores (${kept}), ${machine.kernel}, Node ${machine.node}; ${date.slice(0, 10)}`,
    contenders.map(({ name, about }) => `${name}: ${about}`).join('; '),
  ];
}

function rect(name: string, x: number, y: number, width: number, height: number): string {
  return `<rect class="${name}" x="${x}" y="${y}" width="${width}" height="${height}"/>`;
}

function text(name: string, x: number, y: number, content: string): string {
  return `<text${name === '' ? '' : ` class="${name}"`} x="${Number(x.toFixed(1))}" y="${y}">${escaped(content)}</text>`;
}

function shortened(content: string, most: number): string {
  return content.length <= most ? content : `${content.slice(0, most - 1)}…`;
}

function escaped(content: string): string {
  const NAMES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return content.replaceAll(/[&<>"]/g, (character) => NAMES[character] as string);
}
