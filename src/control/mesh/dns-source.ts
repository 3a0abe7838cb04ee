/** Relays of the mesh by a name in DNS: its addresses, or the hosts of its SRV records. */
import { reasonOf } from '../../errors.js';
import type { Barrier } from '../../faults/barrier.js';
import { formatAddress } from '../../protocol/host-port.js';
import { meshPeer } from '../../protocol/mesh-peer.js';
import { type Answer, type DnsQuestions, dnsQuestions, dnsReason, isEmpty, Lookups } from './lookups.js';
import type { MeshSource, SourceSink } from './source.js';
import { type FoundRelay, MOST_FOUND } from './wanted.js';

export interface NameSettings {
  readonly name: string;
  readonly tlsName?: string | undefined;
  /** The DNS server to ask; `undefined` for the system's. */
  readonly server?: string | undefined;
}

/** Milliseconds between looks: what a TTL says, within bounds; without records, or after a failure; and for SRV records. */
export const LOOKS = { least: 2_000, most: 60_000, empty: 5_000, srv: 10_000 } as const;
/** Milliseconds between two looks, however many hints there are. */
const SOONEST = 1_000;
/** Names of SRV records that are asked about at once. */
const AT_ONCE = 16;

/** What one look has brought. */
interface Look {
  readonly relays: readonly FoundRelay[];
  readonly trouble: string | undefined;
  /** Milliseconds until the next look. */
  readonly next: number;
}

/** Looks at a name again and again. */
abstract class NameSource implements MeshSource {
  abstract readonly name: string;
  protected readonly lookups = new Lookups();
  private sink: SourceSink | undefined;
  private timer: NodeJS.Timeout | undefined;
  private questions: DnsQuestions | undefined;
  /** A hint has come during a look, which may have been too early for it. */
  private hinted = false;
  private lastLook = Number.NEGATIVE_INFINITY;
  private stopped = false;

  constructor(
    private readonly barrier: Barrier,
    private readonly ask: () => DnsQuestions,
  ) {}

  start(sink: SourceSink): void {
    this.sink = sink;
    this.begin();
  }

  look(): void {
    if (this.questions) this.hinted = true;
    else this.again(Math.max(0, this.lastLook + SOONEST - performance.now()));
  }

  /** Nothing to do: the name is not this relay's. */
  async withdraw(): Promise<void> {}

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.questions?.cancel();
  }

  protected abstract find(questions: DnsQuestions): Promise<Look>;

  private begin(): void {
    if (this.stopped) return;
    this.lastLook = performance.now();
    // Whatever goes wrong, the next look comes.
    const missed = () => this.again(LOOKS.empty);
    void this.barrier.settle('a name of mesh relays', this.tell(), missed);
  }

  private async tell(): Promise<void> {
    try {
      this.questions = this.ask();
    } catch (error) {
      // The system has no descriptor left, or the like.
      this.again(LOOKS.empty);
      this.sink?.failed(reasonOf(error));
      return;
    }
    const { relays, trouble, next } = await this.find(this.questions);
    if (this.stopped) return;
    this.again(next);
    if (trouble === undefined) this.sink?.found(relays);
    else this.sink?.failed(trouble, relays);
  }

  private again(after: number): void {
    this.questions = undefined;
    clearTimeout(this.timer);
    if (this.stopped) return;
    const { hinted } = this;
    this.hinted = false;
    this.timer = setTimeout(() => this.begin(), hinted ? SOONEST : after).unref();
  }
}

/** A and AAAA records: each address is a relay. */
export class DnsSource extends NameSource {
  readonly name: string;

  constructor(
    private readonly settings: NameSettings & { readonly port: number },
    barrier: Barrier,
    ask = () => dnsQuestions(settings.server),
  ) {
    super(barrier, ask);
    this.name = `dns ${settings.name}`;
  }

  protected async find(questions: DnsQuestions): Promise<Look> {
    const { name, port, tlsName = name } = this.settings;
    const answer = await this.lookups.addresses(questions, name);
    const relays = answer.addresses.map((address) => relayAt(address, port, tlsName));
    return { relays, trouble: answer.trouble, next: nextLook(answer) };
  }
}

/** SRV records: each has a host and a port, and each address of the host is a relay. Priorities and weights say nothing here. */
export class SrvSource extends NameSource {
  readonly name: string;
  private last: readonly { readonly name: string; readonly port: number }[] = [];

  constructor(
    private readonly settings: NameSettings,
    barrier: Barrier,
    ask = () => dnsQuestions(settings.server),
  ) {
    super(barrier, ask);
    this.name = `srv ${settings.name}`;
  }

  protected async find(questions: DnsQuestions): Promise<Look> {
    const { name, tlsName } = this.settings;
    let trouble: string | undefined;
    try {
      // A single dot says that there is no such service.
      const records = (await questions.resolveSrv(name)).filter(
        (record) => record.port > 0 && !/^\.?$/.test(record.name),
      );
      this.last = records.slice(0, MOST_FOUND);
    } catch (error) {
      if (isEmpty(error)) this.last = [];
      else trouble = dnsReason(name, error);
    }
    const hosts = [...new Set(this.last.map((record) => record.name))];
    this.lookups.keep(hosts);
    const answers = new Map<string, Answer>();
    for (let from = 0; from < hosts.length; from += AT_ONCE) {
      const some = hosts.slice(from, from + AT_ONCE);
      const found = await Promise.all(some.map((host) => this.lookups.addresses(questions, host)));
      for (const [index, host] of some.entries()) answers.set(host, found[index] as Answer);
    }
    // One more than there may be, so that the excess is noticed: records times addresses may be millions.
    const relays: FoundRelay[] = [];
    for (const record of this.last) {
      const { addresses = [] } = answers.get(record.name) ?? {};
      const room = MOST_FOUND + 1 - relays.length;
      relays.push(...addresses.slice(0, room).map((address) => relayAt(address, record.port, tlsName ?? record.name)));
    }
    trouble ??= [...answers.values()].find((answer) => answer.trouble)?.trouble;
    return { relays, trouble, next: trouble === undefined ? LOOKS.srv : LOOKS.empty };
  }
}

function relayAt(address: string, port: number, tlsName: string): FoundRelay {
  return { peer: meshPeer(tlsName, port, address), name: formatAddress({ host: address, port }) };
}

function nextLook({ ttl, trouble }: Answer): number {
  if (trouble !== undefined || ttl === undefined) return LOOKS.empty;
  return Math.min(LOOKS.most, Math.max(LOOKS.least, ttl * 1000));
}
