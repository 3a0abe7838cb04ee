/**
 * The counter page: one 64-bit number for each name. The plane writes it; other code reads it without a call. On the
 * native plane, the page is a view of the plane's own memory. Both languages use the rows of this file, in this order.
 */
import type { CounterName, Counters } from './counter-figures.js';
import { DROP_REASONS, type DropCounter, type DropReason, PACKET_KINDS, type PacketKind } from './drop-reasons.js';
import { FAILURE_COUNTERS, type FailureCounter } from './failures.js';

export type { CounterName } from './counter-figures.js';
export { DROP_REASONS, type DropCounter, type DropReason, PACKET_KINDS, type PacketKind } from './drop-reasons.js';
export {
  FAILURE_COUNTERS,
  type FailureCounter,
  HANDSHAKE_FAILURES,
  type HandshakeFailure,
  LOGIN_FAILURES,
  type LoginFailure,
  REQUEST_FAILURES,
  type RequestFailure,
} from './failures.js';

/** `counter-figures.ts` says what each one counts. */
const PLAIN_COUNTERS = [
  'accepts',
  'packets_received:disco',
  'packets_received:other',
  'bytes_received',
  'packets_sent',
  'bytes_sent',
  'packets_forwarded_in',
  'packets_forwarded_out',
  'peer_gone_disconnected_frames',
  'peer_gone_not_here_frames',
  'got_ping',
  'sent_pong',
  'unknown_frames',
  'write_timeouts',
  'logins_failed',
  'connections_refused',
  'strangers_evicted:address',
  'strangers_evicted:pool',
  'strangers_refused:address',
  'strangers_refused:pool',
  'stun_requests:success',
  'stun_requests:not_stun',
  'stun_requests:read_error',
  'stun_requests:write_error',
  'stun_addrfamily:ipv4',
  'stun_addrfamily:ipv6',
  'stun_no_local_addr',
  'crossings_up',
  'crossings_down',
  'tls_accepts',
  'tls_rejects',
  'tls_upgrades:tls12',
  'tls_upgrades:tls13',
  'rate_limit_waits',
  'egress_contended',
  'tls_active:tls12',
  'tls_active:tls13',
  'queue_time',
  'write_frames:0',
  'write_frames:1',
  'write_frames:2',
  'write_frames:3',
  'write_frames:4',
  'write_frames:5',
  'write_frames:6',
  'write_frames:7',
  'write_frames:8',
  'write_frames:9',
  'write_frames:10',
  'write_frames:15',
  'write_frames:20',
  'write_frames:25',
  'write_frames:50',
  'write_frames:100',
  'write_frames:more',
  'frames_written',
  'tcp_rtt:10ms',
  'tcp_rtt:20ms',
  'tcp_rtt:50ms',
  'tcp_rtt:100ms',
  'tcp_rtt:150ms',
  'tcp_rtt:250ms',
  'tcp_rtt:500ms',
  'tcp_rtt:inf',
  'tcp_rtt:error',
  'tcp_rtt:non_tcp',
  'held:partial_bytes',
  'held:queued_bytes',
  'held:peer_gone_pairs',
  'over_budget:partial_bytes',
  'over_budget:queued_bytes',
  'over_budget:peer_gone_pairs',
  'lookups:asked',
  'lookups:missing',
  'lookups:missed',
  'lookups:limited',
  'lookups:crowded',
  'lookups:share',
  'lookups:evicted',
] as const;

/** The numeric labels of `write_frames`; the last label, `more`, has no number. */
export const WRITE_FRAMES_BOUNDS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 50, 100] as const;

export const COUNTER_NAMES: readonly CounterName[] = [
  ...PLAIN_COUNTERS,
  ...FAILURE_COUNTERS,
  ...DROP_REASONS.flatMap((reason) =>
    PACKET_KINDS.flatMap((kind): CounterName[] => [
      `packets_dropped:${reason}:${kind}`,
      `bytes_dropped:${reason}:${kind}`,
    ]),
  ),
];

const INDEX: ReadonlyMap<CounterName, number> = new Map(COUNTER_NAMES.map((name, index) => [name, index]));

/** Reads a counter page. Values are exact up to 2^53. */
export class CounterPage {
  /** `copy` returns another page of counters, which JavaScript cannot view as memory; each reading adds its values. */
  constructor(
    private readonly cells: Float64Array | BigUint64Array,
    private readonly copy?: () => ArrayLike<number>,
  ) {}

  read(name: CounterName): number {
    return this.sum(INDEX.get(name) as number, this.copy?.());
  }

  /**
   * Reads every counter, in the order of {@link COUNTER_NAMES}. The types ensure that none of {@link Counters} is
   * missing.
   */
  readAll(): Counters {
    const copied = this.copy?.();
    const rows = COUNTER_NAMES.map((name, index) => [name, this.sum(index, copied)]);
    return Object.fromEntries(rows) as Record<(typeof PLAIN_COUNTERS)[number] | FailureCounter | DropCounter, number>;
  }

  private sum(index: number, copied: ArrayLike<number> | undefined): number {
    return Number(this.cells[index] ?? 0) + (copied?.[index] ?? 0);
  }
}

/**
 * A counter page that this thread may write: its own, or those cells of the native page that only JavaScript writes.
 */
export class WritableCounters extends CounterPage {
  constructor(
    private readonly page: Float64Array | BigUint64Array = new Float64Array(COUNTER_NAMES.length),
    copy?: () => ArrayLike<number>,
  ) {
    super(page, copy);
  }

  add(name: CounterName, count = 1): void {
    const index = INDEX.get(name) as number;
    // Workers write other cells of this page at the same time.
    if (this.page instanceof BigUint64Array) Atomics.add(this.page, index, BigInt(count));
    else this.page[index] = (this.page[index] as number) + count;
  }

  /** Counts one socket write that completed `frames` frames. */
  wrote(frames: number): void {
    const bound = WRITE_FRAMES_BOUNDS.find((most) => frames <= most);
    this.add(`write_frames:${bound ?? 'more'}`);
    this.add('frames_written', frames);
  }

  /** Sets a gauge. Only for a page of this thread. */
  set(name: CounterName, value: number): void {
    (this.page as Float64Array)[INDEX.get(name) as number] = value;
  }

  dropped(reason: DropReason, kind: PacketKind, bytes: number): void {
    this.add(`packets_dropped:${reason}:${kind}`);
    this.add(`bytes_dropped:${reason}:${kind}`, bytes);
  }
}
