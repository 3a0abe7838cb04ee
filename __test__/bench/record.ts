/** Records that were never measured. */
import type { RunRecord } from '../../src/bench/record.js';
import { profileOf } from '../../src/bench/scenarios.js';

/** Two rows, three contenders; `cpu` gives each round's figure of each contender in the first row. */
export function made(cpu: Readonly<Record<string, readonly number[]>>): RunRecord {
  const scenarios = profileOf('default').scenarios.slice(0, 2);
  const [{ id } = { id: '' }] = scenarios;
  return {
    format: 1,
    date: '2026-01-02T03:04:05.000Z',
    profile: 'default',
    complete: true,
    rounds: 3,
    seconds: 1,
    calm: 0.15,
    machine: { cpu: 'A & B', cores: 2, memoryGiB: 4, kernel: 'none', node: '20', openssl: '3', derpkit: '0' },
    cores: { relay: '0', generator: '1' },
    contenders: Object.keys(cpu).map((name) => ({ name, about: `<${name}>` })),
    absent: [{ name: 'floor', why: 'it was not asked for' }],
    baseline: 'derper',
    scenarios,
    runs: Object.entries(cpu).flatMap(([contender, values]) =>
      values.map((value, round) => ({
        scenario: id,
        contender,
        round,
        report: { scenario: 'x', ok: true, traffic: { cpu_us_per_delivered: value, latency: { p99: 1234.5 } } },
      })),
    ),
  };
}
