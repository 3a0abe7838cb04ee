import { expect, it } from 'vitest';
import { type Entry, expvarJson, histogram, int, set } from '../../../src/metrics/exposition.js';
import { families } from '../../../src/metrics/families.js';
import { prometheusText } from '../../../src/metrics/prometheus.js';

const text = (entries: readonly Entry[]) => prometheusText(families(entries));

const WRITES = histogram({ bounds: [0, 1, 2.5], counts: [0, 3, 1, 2], sum: 20 });

it('a histogram has cumulative buckets for Prometheus, and separate ones for expvar', () => {
  const entries = [['derp', set([['counter_writes', WRITES]])]] as const;
  expect(text(entries)).toBe(
    [
      '# TYPE derp_writes histogram',
      'derp_writes_bucket{le="0"} 0',
      'derp_writes_bucket{le="1"} 3',
      'derp_writes_bucket{le="2.5"} 4',
      'derp_writes_bucket{le="+Inf"} 6',
      'derp_writes_sum 20',
      'derp_writes_count 6',
      '',
    ].join('\n'),
  );
  expect(expvarJson(entries)).toBe(
    '{\n"derp": {"counter_writes": {"0": 0,"1": 3,"2.5": 4,"+Inf": 6,"sum": 20,"count": 6}}\n}\n',
  );
});

it('entries are sorted by their names, without the prefixes', () => {
  const names = ['gauge_b', 'c', 'counter_a'].map((key) => [key, int(1)] as const);
  expect(text(names).match(/^[abc] 1$/gm)).toEqual(['a 1', 'b 1', 'c 1']);
});
