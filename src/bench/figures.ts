/** The figures of a run, their place in the generator's report, and how the values of several runs combine. */

/** The load generator's report of one run; its README describes it. Only the fields that are read here have a type. */
export interface Report {
  readonly scenario: string;
  readonly ok: boolean;
  readonly faults?: readonly string[];
  readonly cipher?: string;
  readonly generator_limited?: boolean;
  readonly others_cpu_percent?: number;
  readonly stolen_cpu_percent?: number;
  readonly relay_counts?: Readonly<Record<string, number>>;
  readonly [part: string]: unknown;
}

export interface Figure {
  readonly name: string;
  /** The path of the value in a report. */
  readonly path: string;
  readonly digits: number;
  /** Whether less or more is better; without it, the figure is not compared. */
  readonly better?: 'less' | 'more';
  /** The factor for the value of the report. */
  readonly scale?: number;
}

const figures = {
  peak: { name: 'peak, pps', path: 'overload.peak_pps', digits: 0, better: 'more' },
  offered: { name: 'offered, pps', path: 'overload.offered_pps', digits: 0 },
  goodput: { name: 'goodput, % of the peak', path: 'overload.goodput_percent_of_peak', digits: 1, better: 'more' },
  othersPps: { name: "the others' pps", path: 'slow.others_pps', digits: 0, better: 'more' },
  othersLost: { name: 'the others lost, %', path: 'slow.others_lost_percent', digits: 2 },
  slowPps: { name: "the slow one's pps", path: 'slow.slow_pps', digits: 0 },
  goodputNarrow: { name: 'goodput, Mbit/s', path: 'narrow.goodput_mbit', digits: 2, better: 'more' },
  ageP50: { name: 'age p50 ms', path: 'narrow.bulk.p50', digits: 1, better: 'less', scale: 1e-3 },
  ageP95: { name: 'age p95 ms', path: 'narrow.bulk.p95', digits: 1, better: 'less', scale: 1e-3 },
  ageP99: { name: 'age p99 ms', path: 'narrow.bulk.p99', digits: 1, better: 'less', scale: 1e-3 },
  sparseP50: { name: 'sparse age p50 ms', path: 'narrow.sparse.p50', digits: 1, better: 'less', scale: 1e-3 },
  sparseP95: { name: 'sparse age p95 ms', path: 'narrow.sparse.p95', digits: 1, better: 'less', scale: 1e-3 },
  sparseP99: { name: 'sparse age p99 ms', path: 'narrow.sparse.p99', digits: 1, better: 'less', scale: 1e-3 },
  sparseLost: { name: 'sparse lost, %', path: 'narrow.sparse_lost_percent', digits: 2 },
  delivered: { name: 'delivered, pps', path: 'traffic.delivered_pps', digits: 0, better: 'more' },
  gbit: { name: 'Gbit/s', path: 'traffic.gbit_per_second', digits: 3 },
  lost: { name: 'lost, %', path: 'traffic.lost_percent', digits: 2 },
  cpuDelivered: { name: 'CPU µs per delivered', path: 'traffic.cpu_us_per_delivered', digits: 2, better: 'less' },
  cpuReceived: { name: 'CPU µs per received', path: 'traffic.cpu_us_per_received', digits: 2, better: 'less' },
  jain: { name: "Jain's index", path: 'traffic.fairness', digits: 3 },
  p50: { name: 'p50 µs', path: 'traffic.latency.p50', digits: 0, better: 'less' },
  p99: { name: 'p99 µs', path: 'traffic.latency.p99', digits: 0, better: 'less' },
  p999: { name: 'p99.9 µs', path: 'traffic.latency.p999', digits: 0, better: 'less' },
  late: { name: 'generator late, p99 µs', path: 'traffic.lateness.p99', digits: 0 },
  logins: { name: 'logins a second', path: 'logins.per_second', digits: 0, better: 'more' },
  cpuLogin: { name: 'CPU µs per login', path: 'logins.cpu_us_per_login', digits: 0, better: 'less' },
  loginP99: { name: 'login p99 µs', path: 'logins.latency.p99', digits: 0 },
  back: { name: 'all back, ms', path: 'restart.seconds', digits: 0, better: 'less', scale: 1000 },
  cpuReturn: { name: 'CPU µs per login', path: 'restart.cpu_us_per_login', digits: 0, better: 'less' },
  peakRss: { name: 'peak RSS, MB', path: 'restart.peak_rss_mb', digits: 1, better: 'less' },
  cpuAnswer: { name: 'CPU µs per answer', path: 'stun.cpu_us_per_answer', digits: 2, better: 'less' },
  answerP99: { name: 'answer p99 µs', path: 'stun.latency.p99', digits: 0 },
  answers: { name: 'answers', path: 'stun.answers', digits: 0 },
  requests: { name: 'requests', path: 'stun.requests', digits: 0 },
  bystanderP50: { name: 'bystander p50 µs', path: 'bystander.latency.p50', digits: 0, better: 'less' },
  bystanderP99: { name: 'bystander p99 µs', path: 'bystander.latency.p99', digits: 0, better: 'less' },
  bystanderLost: { name: 'bystander lost', path: 'bystander.lost', digits: 0 },
  bytesSettled: { name: 'B per client, fresh', path: 'clients.bytes_each_settled', digits: 0, better: 'less' },
  bytesTouched: { name: 'B per client, after a burst', path: 'clients.bytes_each_touched', digits: 0, better: 'less' },
  bytesStormed: { name: 'B per client, after a storm', path: 'clients.bytes_each_stormed', digits: 0, better: 'less' },
  kernelQueues: { name: 'kernel, B of queues', path: 'clients.kernel.queue_bytes_each', digits: 0 },
  kernelObjects: { name: 'kernel, B of objects', path: 'clients.kernel.object_bytes_each', digits: 0 },
  contended: { name: 'locks found taken', path: 'relay_counts.derpkit_egress_contended_total', digits: 0 },
  dropsHead: { name: 'dropped: queue_head', path: 'relay_counts.queue_head', digits: 0 },
  dropsTail: { name: 'dropped: queue_tail', path: 'relay_counts.queue_tail', digits: 0 },
  dropsAge: { name: 'dropped: queue_age', path: 'relay_counts.queue_age', digits: 0 },
  serverCpu: { name: 'relay CPU, %', path: 'server.cpu_percent', digits: 1 },
  otherServerCpu: { name: "the other relay's CPU, %", path: 'other_server.cpu_percent', digits: 1 },
  generatorCpu: { name: 'generator CPU, %', path: 'generator.cpu_percent', digits: 0 },
} as const satisfies Record<string, Figure>;

export type FigureKey = keyof typeof figures;

/** Figures by key, in the order of tables. */
export const FIGURES: Readonly<Record<FigureKey, Figure>> = figures;

/** A figure of a report; undefined if the report does not have it. */
export function figureOf(report: Report, key: FigureKey): number | undefined {
  const { path, scale = 1 }: Figure = FIGURES[key];
  let value: unknown = report;
  for (const name of path.split('.')) value = (value as Record<string, unknown> | null | undefined)?.[name];
  return typeof value === 'number' && Number.isFinite(value) ? value * scale : undefined;
}

/** The values of one figure over several runs. */
export interface Spread {
  readonly least: number;
  readonly median: number;
  readonly most: number;
}

export function spreadOf(values: readonly number[]): Spread | undefined {
  const sorted = [...values].sort((a, b) => a - b);
  const [least, most] = [sorted[0], sorted.at(-1)];
  if (least === undefined || most === undefined) return undefined;
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] as number;
  const median = sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
  return { least, median, most };
}

/** A number with a comma between every three digits. */
export function number(value: number, digits: number): string {
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A ratio with fewer decimals the larger it is: 0.63, 6.3, 63. */
export function times(ratio: number): string {
  return `${number(ratio, ratio < 10 ? 2 : ratio < 100 ? 1 : 0)}×`;
}
