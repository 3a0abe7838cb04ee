/** Metrics as one tree, and as expvar JSON. `families.ts` makes rows of the tree, for the texts that Prometheus reads. Pure. */
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
      readonly labels: readonly string[];
      /** The values of the labels, in order, and the value of the metric. */
      readonly rows: readonly { readonly of: readonly string[]; readonly value: number }[];
    }
  | ({ readonly kind: 'histogram' } & HistogramFigures)
  | { readonly kind: 'set'; readonly entries: readonly Entry[] }
  /** A metric whose labels are the information: versions, kinds. `text` is its JSON value. */
  | { readonly kind: 'info'; readonly text: string; readonly labels: Readonly<Record<string, string>> };

/**
 * A key may begin with `gauge_` or `counter_`. The prefix is the type; in Prometheus text the name omits it. The help is for
 * the metric of this key, not for those of a set.
 */
export type Entry = readonly [key: string, value: Value, help?: string];

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

/** expvar JSON, sorted by key. */
export function expvarJson(entries: readonly Entry[]): string {
  const rows = sorted(entries).map(([key, value]) => `${JSON.stringify(key)}: ${json(value)}`);
  return `{\n${rows.join(',\n')}\n}\n`;
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
export function cumulative({ bounds, counts }: HistogramFigures): [bound: string, count: number][] {
  let sum = 0;
  return [...bounds.map(String), '+Inf'].map((bound, index) => {
    sum += counts[index] ?? 0;
    return [bound, sum];
  });
}

/** Entries in the order of their keys. */
export function sorted(entries: readonly Entry[]): Entry[] {
  return [...entries].sort(([a], [b]) => order(a, b));
}

export function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Finite values only: Prometheus and JSON spell infinity differently, and no metric here is infinite. */
export function number(value: number): string {
  return String(value);
}
