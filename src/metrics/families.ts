/** Metrics as rows: what the texts that Prometheus reads are made of. Pure. */
import { cumulative, type Entry, order, sorted, type Value } from './exposition.js';

/** One metric with all of its samples. */
export interface Family {
  readonly name: string;
  /** Absent where derper names none. */
  readonly type?: 'counter' | 'gauge' | 'histogram' | undefined;
  readonly help?: string | undefined;
  readonly samples: readonly Sample[];
}

export interface Sample {
  /** What stands behind the name of the metric: `_bucket`, `_sum` or `_count` of a histogram, else nothing. */
  readonly suffix: string;
  readonly labels: readonly (readonly [name: string, value: string])[];
  readonly value: number;
}

/** Metrics in the order of derper's page: the outermost entries by name, the entries of a set by key. */
export function families(entries: readonly Entry[]): Family[] {
  return [...entries]
    .sort(([a], [b]) => order(stripped(a).name, stripped(b).name))
    .flatMap((entry) => familiesOf('', entry));
}

function familiesOf(prefix: string, [key, value, help]: Entry): Family[] {
  const { name: own, type } = stripped(key);
  const name = prefix + own;
  switch (value.kind) {
    case 'int':
      return [{ name, type: type ?? 'counter', help, samples: [sample([], value.value)] }];
    case 'bare':
      return [{ name, type, help, samples: [sample([], value.value)] }];
    case 'labels':
      return [{ name, type, help, samples: value.rows.map(([row, count]) => sample([[value.label, row]], count)) }];
    case 'table': {
      const samples = value.rows.map(({ of, value: count }) => sample(pairs(value.labels, of), count));
      return [{ name, type: value.type, help, samples }];
    }
    case 'histogram':
      return [{ name, type: 'histogram', help, samples: buckets(value) }];
    case 'set':
      return sorted(value.entries).flatMap((inner) => familiesOf(`${name}_`, inner));
    case 'info':
      // Prometheus has no form for a text inside a set.
      if (prefix !== '') return [];
      return [{ name, type, help, samples: [sample(Object.entries(value.labels), 1)] }];
  }
}

function buckets(value: Value & { readonly kind: 'histogram' }): Sample[] {
  const rows = cumulative(value);
  return [
    ...rows.map(([bound, count]) => sample([['le', bound]], count, '_bucket')),
    sample([], value.sum, '_sum'),
    sample([], rows.at(-1)?.[1] ?? 0, '_count'),
  ];
}

function sample(labels: Sample['labels'], value: number, suffix = ''): Sample {
  return { suffix, labels, value };
}

function pairs(names: readonly string[], values: readonly string[]): [string, string][] {
  return names.map((name, index) => [name, values[index] ?? '']);
}

function stripped(key: string): { name: string; type: 'counter' | 'gauge' | undefined } {
  const [, type, name] = /^(?:(counter|gauge)_)?(.*)$/.exec(key) as unknown as [string, 'counter' | 'gauge', string];
  return { name, type };
}
