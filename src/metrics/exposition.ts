/** Metrics as derper publishes them: one tree, in Prometheus text and in expvar JSON. Pure. */
import type { HistogramFigures } from '../registry/figures.js';

export type Value =
  /** A counted value. It is a counter, unless the prefix of its key names another type. */
  | { readonly kind: 'int'; readonly value: number }
  /** A computed value. It has no type, unless the prefix of its key names one. */
  | { readonly kind: 'bare'; readonly value: number }
  | { readonly kind: 'labels'; readonly label: string; readonly rows: readonly (readonly [string, number])[] }
  | {
      readonly kind: 'table';
      readonly type: 'counter' | 'gauge';
      readonly help: string;
      readonly labels: readonly string[];
      /** The values of the labels, in order, and the value of the metric. */
      readonly rows: readonly { readonly of: readonly string[]; readonly value: number }[];
    }
  | ({ readonly kind: 'histogram' } & HistogramFigures)
  | { readonly kind: 'set'; readonly entries: readonly Entry[] }
  /** A metric whose labels are the information: versions, kinds. `text` is its JSON value. */
  | { readonly kind: 'info'; readonly text: string; readonly labels: Readonly<Record<string, string>> };

/** A key may begin with `gauge_` or `counter_`. The prefix is the type; in Prometheus text the name omits it. */
export type Entry = readonly [key: string, value: Value];

export const int = (value: number): Value => ({ kind: 'int', value });
export const bare = (value: number): Value => ({ kind: 'bare', value });
export const labels = (label: string, rows: Readonly<Record<string, number>>): Value => ({
  kind: 'labels',
  label,
  rows: Object.entries(rows),
});
export const histogram = ({ bounds, counts, sum }: HistogramFigures): Value => ({
  kind: 'histogram',
  bounds,
  counts,
  sum,
});
export const set = (entries: readonly Entry[]): Value => ({ kind: 'set', entries });

/** Prometheus text. The outermost entries are sorted by name, the entries of a set by key. */
export function prometheusText(entries: readonly Entry[]): string {
  return [...entries]
    .sort(([a], [b]) => order(stripped(a).name, stripped(b).name))
    .flatMap(([key, value]) => samples('', key, value))
    .map((line) => `${line}\n`)
    .join('');
}

/** expvar JSON, sorted by key. */
export function expvarJson(entries: readonly Entry[]): string {
  const rows = sorted(entries).map(([key, value]) => `${JSON.stringify(key)}: ${json(value)}`);
  return `{\n${rows.join(',\n')}\n}\n`;
}

function samples(prefix: string, key: string, value: Value): string[] {
  const { name: own, type } = stripped(key);
  const name = prefix + own;
  switch (value.kind) {
    case 'int':
      return [`# TYPE ${name} ${type ?? 'counter'}`, `${name} ${number(value.value)}`];
    case 'bare':
      return [...(type ? [`# TYPE ${name} ${type}`] : []), `${name} ${number(value.value)}`];
    case 'labels':
      return [
        ...(type ? [`# TYPE ${name} ${type}`] : []),
        ...value.rows.map(([row, count]) => `${name}{${value.label}=${quoted(row)}} ${number(count)}`),
      ];
    case 'table':
      return [
        `# TYPE ${name} ${value.type}`,
        `# HELP ${name} ${value.help}`,
        ...value.rows.map(({ of, value: count }) => `${name}{${pairs(value.labels, of)}} ${number(count)}`),
      ];
    case 'histogram': {
      const rows = cumulative(value);
      return [
        `# TYPE ${name} histogram`,
        ...rows.map(([bound, count]) => `${name}_bucket{le=${quoted(bound)}} ${number(count)}`),
        `${name}_sum ${number(value.sum)}`,
        `${name}_count ${number(rows.at(-1)?.[1] ?? 0)}`,
      ];
    }
    case 'set':
      return sorted(value.entries).flatMap(([inner, each]) => samples(`${name}_`, inner, each));
    case 'info':
      // Prometheus has no form for a text inside a set.
      if (prefix !== '') return [];
      return [`${name}{${pairs(Object.keys(value.labels), Object.values(value.labels))}} 1`];
  }
}

function json(value: Value): string {
  switch (value.kind) {
    case 'int':
    case 'bare':
      return number(value.value);
    case 'labels':
      return `{${value.rows.map(([row, count]) => `${JSON.stringify(row)}: ${number(count)}`).join(', ')}}`;
    case 'table':
      return '"MultiLabelMap"';
    case 'histogram': {
      const rows = cumulative(value);
      const all = [...rows, ['sum', value.sum], ['count', rows.at(-1)?.[1] ?? 0]] as const;
      return `{${all.map(([row, count]) => `"${row}": ${number(count)}`).join(',')}}`;
    }
    case 'set':
      return `{${sorted(value.entries)
        .map(([key, each]) => `${JSON.stringify(key)}: ${json(each)}`)
        .join(', ')}}`;
    case 'info':
      return JSON.stringify(value.text);
  }
}

/** Cumulative buckets, as Prometheus expects them. */
function cumulative({ bounds, counts }: HistogramFigures): [bound: string, count: number][] {
  let sum = 0;
  return [...bounds.map(String), '+Inf'].map((bound, index) => {
    sum += counts[index] ?? 0;
    return [bound, sum];
  });
}

function stripped(key: string): { name: string; type: 'counter' | 'gauge' | undefined } {
  const [, type, name] = /^(?:(counter|gauge)_)?(.*)$/.exec(key) as unknown as [string, 'counter' | 'gauge', string];
  return { name, type };
}

function sorted(entries: readonly Entry[]): Entry[] {
  return [...entries].sort(([a], [b]) => order(a, b));
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function pairs(names: readonly string[], values: readonly string[]): string {
  return names.map((name, index) => `${name}=${quoted(values[index] ?? '')}`).join(',');
}

function quoted(text: string): string {
  return `"${text.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

/** Finite values only: Prometheus and JSON spell infinity differently, and no metric here is infinite. */
function number(value: number): string {
  return String(value);
}
