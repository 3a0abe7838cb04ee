import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { FIGURES, figureOf, number, spreadOf, times } from '../../src/bench/figures.js';
import { picture } from '../../src/bench/picture.js';
import { isClean, joined, ratioFor, readRecord, roundsIn, spreadFor, writeRecord } from '../../src/bench/record.js';
import { matching, profileOf, type Scenario } from '../../src/bench/scenarios.js';
import { markdown, table } from '../../src/bench/table.js';
import { temporary } from '../cli/commands.js';
import { made } from './record.js';

const CPU = { native: [1, 2, 30], js: [20, 20, 20], derper: [10, 10, 100] };
const record = made(CPU);
const ROW = record.scenarios[0]?.id ?? '';

describe('figures', () => {
  it('a figure is found in a report, or undefined', () => {
    const report = { scenario: '', ok: true, restart: { seconds: 1.5 }, stun: null };
    expect(figureOf(report, 'back')).toBe(1500);
    expect(figureOf(report, 'cpuAnswer')).toBeUndefined();
    expect(figureOf(report, 'p99')).toBeUndefined();
  });

  it('a spread has a median and two ends', () => {
    expect(spreadOf([])).toBeUndefined();
    expect(spreadOf([3, 1, 2])).toEqual({ least: 1, median: 2, most: 3 });
    expect(spreadOf([4, 1, 2, 10])).toEqual({ least: 1, median: 3, most: 10 });
  });

  it('figures are compared within a round, and the median of the ratios counts', () => {
    // The medians are 2 and 10: their ratio would be the same here by chance, so the last round moves it.
    expect(ratioFor(record, ROW, ['native', 'derper'], 'cpuDelivered')).toEqual({ least: 0.1, median: 0.2, most: 0.3 });
    const uneven = made({ ...CPU, derper: [1, 10, 10] });
    expect(ratioFor(uneven, ROW, ['native', 'derper'], 'cpuDelivered')?.median).toBe(1);
    expect(spreadFor(uneven, ROW, 'native', 'cpuDelivered')?.median).toBe(2);
    // A round that the other contender lacks has no partner.
    const short = made({ ...CPU, derper: [2] });
    expect(ratioFor(short, ROW, ['native', 'derper'], 'cpuDelivered')).toEqual({ least: 0.5, median: 0.5, most: 0.5 });
  });

  it('a record names its number of measured rounds', () => {
    expect(roundsIn({ ...record, rounds: 3 })).toBe('3 rounds');
    expect(roundsIn({ ...record, rounds: 5 })).toBe('3 of 5 rounds');
    const [first, ...rest] = record.scenarios;
    const second = { ...(first as Scenario), id: 'second' };
    const runs = record.runs.map((run) => (run.round < 2 ? { ...run, scenario: 'second' } : run));
    const cut = {
      ...record,
      rounds: 5,
      scenarios: [first as Scenario, second, ...rest],
      runs: [...record.runs, ...runs],
    };
    expect(roundsIn(cut)).toBe('2 to 3 of 5 rounds');
  });

  it('figures are printed readably', () => {
    expect([number(1234567.8, 1), number(0.5, 2)]).toEqual(['1,234,567.8', '0.50']);
    expect([times(0.123), times(12.34), times(462)]).toEqual(['0.12×', '12.3×', '462×']);
  });
});

describe('scenarios', () => {
  it.each(['tiny', 'quick', 'default', 'full'] as const)(
    'scenarios of the profile %s have names of their own',
    (name) => {
      const { scenarios } = profileOf(name);
      expect(new Set(scenarios.map(({ id }) => id)).size).toBe(scenarios.length);
      expect(scenarios.filter(({ headline }) => FIGURES[headline].better === undefined)).toEqual([]);
    },
  );

  it('the default profile has scenarios of every family, plain and over TLS', () => {
    const { scenarios } = profileOf('default');
    const families = (transport: string) =>
      new Set(scenarios.filter((scenario) => scenario.transport === transport).map(({ family }) => family));
    expect([...families('plain')].sort()).toEqual(
      [
        'fan-in',
        'fan-out',
        'idle',
        'logins',
        'overload',
        'relay',
        'restart',
        'slow',
        'storm',
        'stun',
        'workers',
      ].sort(),
    );
    expect(families('tls')).toContain('storm');
    expect(profileOf('default').rounds).toBeGreaterThanOrEqual(5);
  });

  it('the quick profile measures TLS first, because a slow machine may not reach its last rows in time', () => {
    const order = profileOf('quick').scenarios.map(({ transport }) => transport);
    expect(order[0]).toBe('tls');
    expect(order).toEqual(order.toSorted().toReversed());
  });

  it('scenarios are chosen by family, transport, name, or the beginning of a name', () => {
    const { scenarios } = profileOf('full');
    expect(matching(scenarios, [])).toHaveLength(scenarios.length);
    expect(matching(scenarios, ['storm']).map(({ id }) => id)).toEqual(['storm/plain', 'storm/tls']);
    expect(matching(scenarios, ['relay-10x1400-20k/tls'])).toHaveLength(1);
    expect(matching(scenarios, ['relay-10x1400'])).toHaveLength(8);
    expect(new Set(matching(scenarios, ['tls']).map(({ transport }) => transport))).toEqual(new Set(['tls']));
    expect(matching(scenarios, ['nonsense'])).toEqual([]);
  });

  it('scenarios have windows of the requested length', () => {
    const [first] = profileOf('default', { seconds: 7, rounds: 9 }).scenarios;
    expect(first?.args.join(' ')).toContain('--seconds 7 ');
    expect(profileOf('default', { rounds: 9 }).rounds).toBe(9);
  });
});

describe('one record', () => {
  it('a record is read as written, except for noise', () => {
    const path = join(temporary(), 'deep', 'a.json');
    writeRecord(path, record);
    expect(readRecord(path)).toEqual(record);
    const [run] = record.runs;
    writeRecord(path, { ...record, runs: [{ ...run, report: { scenario: '', ok: true, x: 1.23456789 } }] as never });
    expect(readRecord(path).runs[0]?.report?.x).toBe(1.23457);
  });

  it('a record of another format is refused', () => {
    const path = join(temporary(), 'a.json');
    writeRecord(path, { ...record, format: 2 as never });
    expect(() => readRecord(path)).toThrow('no record');
  });

  it('a record is clean if every run is clean', () => {
    expect(isClean(record)).toBe(true);
    const [first, ...rest] = record.runs;
    const failed = { ...first, report: { scenario: '', ok: false } } as never;
    expect(isClean({ ...record, runs: [failed, ...rest] })).toBe(false);
    const none = { scenario: ROW, contender: 'js', round: 0, error: 'it ended' };
    expect(isClean({ ...record, runs: [none] })).toBe(false);
  });
});

describe('tables', () => {
  it('a table has medians, ranges and ratios', () => {
    const text = table(record);
    expect(text).toMatch(
      /CPU µs per delivered +2\.00 \(1\.00–30\.00\) 0\.20× +20\.00 2\.00× +10\.00 \(10\.00–100\.00\)/,
    );
    expect(text).toContain('floor is not measured: it was not asked for');
    expect(text).not.toContain('\u001b');
    expect(table(record, true)).toContain('\u001b');
  });

  it('a table names failures, disturbances and limits of the generator', () => {
    const [first, second, ...rest] = record.runs;
    const runs = [
      { ...first, disturbed: true, repeated: [{ foreignLoad: 0.5 }] },
      { ...second, report: { ...second?.report, generator_limited: true, ok: false, faults: ['1 corrupt'] } },
      ...rest,
    ] as never;
    const text = table({ ...record, runs });
    expect(text).toContain('native: generator-limited in 1 of 3 runs');
    expect(text).toContain('native: others used the machine in 1 of 3 runs');
    expect(text).toContain('native: FAILED: 1 corrupt');
    expect(text).toContain('1 were repeated');
    expect(text).toContain('there are failed runs');
  });

  it('a table names the rows that a run did not get to', () => {
    expect(table(record)).not.toContain('were not measured');
    expect(table({ ...record, complete: false })).toContain(
      `some of the planned runs were not measured\nrows without any: ${record.scenarios[1]?.id}\n`,
    );
  });

  it('a table in Markdown has the one measured figure of each row', () => {
    expect(markdown(record).split('\n')).toEqual([
      '| | | native | js | derper |',
      '|---|---|---|---|---|',
      '| plain: 10 pairs, 1400 B, 20,000 pps | CPU µs per delivered | 2.00 (1.00–30.00) **0.20×** | 20.00 **2.00×** | 10.00 (10.00–100.00) |',
    ]);
  });
});

it('a Markdown table compares the native plane with the floor where the record has both', () => {
  const rows = markdown(made({ native: [11, 12, 13], derper: [20, 20, 20], floor: [10, 10, 10] })).split('\n');
  expect(rows[0]).toBe('| | | native | derper | floor | native ÷ floor |');
  expect(rows[2]).toMatch(/ \| 10\.00 \*\*0\.50×\*\* \| 1\.20× \|$/);
});

describe('several records', () => {
  const [first, second] = record.scenarios;
  const other = { ...record, scenarios: record.scenarios.slice(1), runs: [] };

  it('records are joined row by row', () => {
    const rows = joined([{ ...record, scenarios: record.scenarios.slice(0, 1) }, other]);
    expect(rows.scenarios).toEqual([first, second]);
    expect(rows.runs).toEqual(record.runs);
  });

  it('records with a common row, or with different contenders, are not joined', () => {
    expect(() => joined([record, other])).toThrow(`two of the records have the row ${second?.id}`);
    expect(() => joined([record, { ...other, contenders: [] }])).toThrow('different contenders');
  });

  it('a negative figure has no ratio, and no row in a picture', () => {
    const shrunk = made({ native: [-1, 2, 3], js: [20, 20, 20], derper: [10, 10, 10] });
    expect(markdown(shrunk)).toContain('| 2.00 (-1.00–3.00) | 20.00 **2.00×** | 10.00 |');
    expect(picture(shrunk)).toBeUndefined();
  });
});

describe('pictures', () => {
  it('a picture has a mark for each contender at its ratio', () => {
    const svg = picture(record) ?? '';
    const at = [...svg.matchAll(/<circle class="[ab]" cx="([\d.]+)" cy="[\d.]+" r="4.5"/g)].map(([, x]) => Number(x));
    expect(at).toHaveLength(2);
    const one = Number(/class="one" x1="([\d.]+)"/.exec(svg)?.[1]);
    // native is better than derper, js is worse.
    expect(at[0]).toBeGreaterThan(one);
    expect(at[1]).toBeLessThan(one);
    expect(svg).toContain('<title>native: 5.00× (3.33×–10.0×)</title>');
    expect(svg).toContain('A &amp; B');
    expect(svg).toContain('native: &lt;native&gt;');
    expect(svg).toContain('prefers-color-scheme: dark');
  });

  it('a record without a baseline has no picture', () => {
    expect(picture({ ...record, baseline: 'nobody' })).toBeUndefined();
    expect(picture({ ...record, runs: [] })).toBeUndefined();
  });
});
