/** What `derpkit top` shows, as lines of text and as JSON. */
import { counted } from '../../words/counted.js';
import { type Column, columnsOf, type Style, short } from '../columns.js';
import { printable } from '../terminal-text.js';
import { SORTS, type Sort } from './clients.js';
import type { Busy, Sample, Span } from './feed.js';

/** Counters by reason: their total since the start of the relay, and their growth in a second. */
type ByReason = Readonly<Record<string, { readonly total: number; readonly rate: number }>>;

/** Figures of the time between two samples. */
export interface Report {
  readonly relay: string;
  /** Seconds since 1970. */
  readonly time: number;
  /** Seconds that the rates are an average of. */
  readonly seconds: number;
  readonly connections: number;
  readonly keys: number;
  readonly home: number;
  /** Links of other relays to this one. */
  readonly links: number;
  /** Counters since the start of the relay. */
  readonly totals: Readonly<Record<Counter, number>>;
  /** Their growth in a second. */
  readonly rates: Readonly<Record<Counter, number>>;
  readonly drops: ByReason;
  /** Handshakes and logins that failed. */
  readonly failures: ByReason;
  /** Milliseconds. */
  readonly queueDelay: number;
  /** Percent of one core. */
  readonly cpu: number;
  /** Bytes. */
  readonly memory: number;
  readonly mesh: Sample['mesh'];
  readonly clients: readonly Busy[];
}

const COUNTERS = ['packetsIn', 'packetsOut', 'bytesIn', 'bytesOut', 'admitted', 'failed', 'refused'] as const;
type Counter = (typeof COUNTERS)[number];

export function reportOf(relay: string, { before, now }: Span, clients: readonly Busy[]): Report {
  const seconds = Math.max(0.001, now.time - before.time);
  // A relay that has started again counts from 0.
  const rate = (total: number, earlier = 0) => Math.max(0, total - earlier) / seconds;
  const each = (of: (name: Counter) => number) =>
    Object.fromEntries(COUNTERS.map((name) => [name, of(name)])) as Record<Counter, number>;
  const byReason = (counts: Sample['drops'], earlier: Sample['drops']): ByReason =>
    Object.fromEntries(
      Object.entries(counts).map(([reason, total]) => [reason, { total, rate: rate(total, earlier[reason]) }]),
    );
  const { time, connections, keys, home, links = 0, queueDelay, memory, mesh } = now;
  return {
    ...{ relay, time, seconds, connections, keys, home, links },
    totals: each((name) => now[name]),
    rates: each((name) => rate(now[name], before[name])),
    drops: byReason(now.drops, before.drops),
    failures: byReason(now.failures, before.failures),
    queueDelay,
    cpu: rate(now.cpu, before.cpu) * 100,
    ...{ memory, mesh, clients },
  };
}

/** The room for a frame: a width of `Infinity` cuts nothing. */
export interface Room {
  readonly width: number;
  readonly height: number;
}

const LABEL = 10;
const whole = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

/** The columns of the list. */
const COLUMNS: readonly Column<Busy>[] = [
  ['NODE KEY', -16, ({ key }) => key.replace('nodekey:', '').slice(0, 16)],
  ['FROM bit/s', 10, ({ rxRate }) => short(rxRate)],
  ['TO bit/s', 10, ({ txRate }) => short(txRate)],
  ['FROM B', 8, ({ rxBytes }) => short(rxBytes)],
  ['TO B', 8, ({ txBytes }) => short(txBytes)],
  ['QUEUED', 6, ({ queued }) => String(queued)],
  ['DROPPED', 8, ({ dropped }) => short(dropped)],
  ['ADDRESS', -39, ({ address }) => address],
  ['APP', -32, ({ app }) => app],
];

/** The lines of a frame, none of them wider than the room, and no more of them than it is high. */
export function frameOf(report: Report, { width, height }: Room, sort: Sort, style: Style, hint = ''): string[] {
  const head = summary(report).map(([label, text, isAlarm]) => {
    const cut = text.slice(0, Math.max(0, width - LABEL));
    return style.label(label.padEnd(LABEL).slice(0, width)) + (isAlarm ? style.alarm(cut) : cut);
  });
  const [heads = '', ...clients] = columnsOf(COLUMNS, report.clients).map((line) => line.slice(0, width));
  const foot = hint === '' ? [] : [`by ${sort.about}; ${hint}`.slice(0, width)];
  const left = Math.max(0, height - head.length - 2 - foot.length);
  const lines = [...head, '', style.head(heads), ...clients.slice(0, left), ...foot];
  return lines.slice(0, height);
}

/** The keys, for the last line. */
export const KEYS = ['q: end', ...SORTS.map(({ key, about }) => `${key}: ${about}`)].join(', ');

function summary(report: Report): [label: string, text: string, isAlarm?: boolean][] {
  const { relay, time, connections, keys, home, links, totals, rates, drops, failures, queueDelay, cpu, memory, mesh } =
    report;
  const pair = (name: Counter, text: string) => `${text} ${short(rates[name])}/s (${whole.format(totals[name])})`;
  const bits = (name: 'bytesIn' | 'bytesOut', text: string) => `${text} ${short(rates[name] * 8)}bit/s`;
  const reasons = (counts: ByReason) =>
    Object.entries(counts).map(
      ([reason, { total, rate }]) => `${printable(reason)} ${short(rate)}/s (${whole.format(total)})`,
    );
  const isDropping = Object.values(drops).some(({ rate }) => rate > 0);
  const relays = [
    ...(links > 0 ? [`${counted(links, 'link', whole.format(links))} of other relays`] : []),
    ...mesh.map(({ relay: other, state, peers }) => printable(`${other} ${state}, ${counted(peers, 'key')}`)),
  ];
  return [
    ['relay', `${printable(relay)} at ${new Date(time * 1000).toISOString().slice(0, 19)}Z`],
    [
      'clients',
      `${counted(connections, 'connection', whole.format(connections))} of ${counted(keys, 'key', whole.format(keys))}, ${whole.format(home)} at home`,
    ],
    ['packets', [pair('packetsIn', 'in'), pair('packetsOut', 'out')].join('  ')],
    ['bits', [bits('bytesIn', 'in'), bits('bytesOut', 'out')].join('  ')],
    ['dropped', reasons(drops).join('  ') || 'none', isDropping],
    ['logins', [pair('admitted', 'admitted'), pair('failed', 'failed'), pair('refused', 'refused')].join('  ')],
    ['failed', reasons(failures).join('  ') || 'none'],
    ['process', `processor ${cpu.toFixed(1)} %  memory ${short(memory)}B  delay in queues ${queueDelay.toFixed(2)} ms`],
    ...(relays.length > 0 ? [['mesh', relays.join('  ')] as [string, string]] : []),
  ];
}
