/** The two texts that Prometheus reads: its own, and OpenMetrics. Pure. */
import { number } from './exposition.js';
import type { Family, Sample } from './families.js';

/** The Content-Type of {@link prometheusText}. */
export const PROMETHEUS_TEXT = 'text/plain; version=0.0.4; charset=utf-8';
/** The Content-Type of {@link openMetricsText}. */
export const OPEN_METRICS = 'application/openmetrics-text; version=1.0.0; charset=utf-8';

export function prometheusText(families: readonly Family[]): string {
  return families.map(({ name, type, help, samples }) => block(name, type, help, samples, name)).join('');
}

/**
 * OpenMetrics wants a counter's samples to end in `_total`, which derper's do not: their metrics have the type `unknown`, and
 * keep their names.
 */
export function openMetricsText(families: readonly Family[]): string {
  const blocks = families.map(({ name, type, help, samples }) => {
    if (type === 'counter' && name.endsWith('_total')) {
      return block(name.slice(0, -'_total'.length), 'counter', help, samples, name);
    }
    if (name.endsWith('_info')) return block(name.slice(0, -'_info'.length), 'info', help, samples, name);
    if (type === 'histogram') return block(name, type, help, samples.map(canonical), name);
    return block(name, type === 'gauge' ? 'gauge' : 'unknown', help, samples, name);
  });
  return `${blocks.join('')}# EOF\n`;
}

/** `name` of the metric, `of` its samples. */
function block(
  name: string,
  type: string | undefined,
  help: string | undefined,
  samples: readonly Sample[],
  of: string,
): string {
  const lines = [
    ...(type ? [`# TYPE ${name} ${type}`] : []),
    ...(help ? [`# HELP ${name} ${escaped(help)}`] : []),
    ...samples.map(({ suffix, labels, value }) => `${of}${suffix}${braces(labels)} ${number(value)}`),
  ];
  return lines.map((line) => `${line}\n`).join('');
}

/** With the bound of a bucket as OpenMetrics spells numbers: `1.0`, not `1`. */
function canonical(sample: Sample): Sample {
  const labels = sample.labels.map(([name, value]) => [name, /^\d+$/.test(value) ? `${value}.0` : value] as const);
  return { ...sample, labels };
}

function braces(labels: Sample['labels']): string {
  return labels.length === 0 ? '' : `{${labels.map(([name, value]) => `${name}="${quoted(value)}"`).join(',')}}`;
}

function quoted(text: string): string {
  return escaped(text).replaceAll('"', '\\"');
}

function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}
