/**
 * Addresses of names that clients may need before they have a resolver: looked up at intervals, and answered from
 * memory.
 */
import { lookup, Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Barrier } from '../faults/barrier.js';
import { addressBytes } from '../protocol/frame.js';
import { inTime } from './in-time.js';

export interface BootstrapNames {
  /** Names that every client gets. */
  readonly published: readonly string[];
  /** Names that only a client gets that asks for them: `name`, or `name/txt-name` for a gradual rollout. */
  readonly unpublished: readonly string[];
}

/** Resolves names: the system's resolver, except in tests. Both methods reject if they fail. */
export interface NameResolver {
  addresses(name: string): Promise<readonly string[]>;
  texts(name: string): Promise<readonly string[]>;
}

interface Entry {
  readonly addresses: readonly string[];
  /** The share of clients that get an unpublished name, 0 to 1. */
  readonly share: number;
}

const REFRESH = 10 * 60_000;
/** Milliseconds to resolve one list. */
const BUDGET = 60_000;
/** Most names that are counted as queried; an attacker could invent any number. */
const MOST_QUERIED = 500;

export class BootstrapDns {
  readonly counts = {
    requests: 0,
    publishedHits: 0,
    publishedMisses: 0,
    unpublishedHits: 0,
    unpublishedMisses: 0,
    unpublishedPercentMisses: 0,
  };
  private readonly queried = new Set<string>();
  private published: ReadonlyMap<string, Entry> | undefined;
  private unpublished: ReadonlyMap<string, Entry> = new Map();
  private publishedJson = '';
  private timer: NodeJS.Timeout | undefined;
  private stopped = false;

  constructor(
    private readonly names: BootstrapNames,
    private readonly warn: (name: string, error: Error) => void,
    private readonly barrier: Barrier,
    private readonly resolver: NameResolver = systemResolver(),
    private readonly random: () => number = Math.random,
  ) {}

  /** The number of different names that clients queried lately. */
  get queriedDomains(): number {
    return this.queried.size;
  }

  /** Resolves both lists now, and every ten minutes until {@link stop}. */
  start(): void {
    if (this.stopped || (this.names.published.length === 0 && this.names.unpublished.length === 0)) return;
    this.timer = setTimeout(() => this.start(), REFRESH).unref();
    void this.barrier.settle('the bootstrap names', this.refresh());
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  async refresh(): Promise<void> {
    if (this.names.published.length > 0) {
      const entries = await this.resolveAll(this.names.published);
      // Shuffled, because clients try the addresses in order, and all would begin with IPv6.
      const shuffled = [...entries].map(([name, entry]): [string, Entry] => [
        name,
        { ...entry, addresses: shuffle(entry.addresses, this.random) },
      ]);
      this.published = new Map(shuffled);
      this.publishedJson = jsonOf(this.published);
    }
    this.unpublished = await this.resolveAll(this.names.unpublished);
  }

  /** The answer to a request from `address` for `query`; `null` or empty means no name. */
  answer(query: string | null, address: string): string {
    this.counts.requests += 1;
    if (!query) return this.publishedJson;
    this.queried.add(query);
    if (this.queried.size > MOST_QUERIED) this.queried.clear();
    const hidden = this.unpublished.get(query);
    if (hidden && hidden.addresses.length > 0) {
      this.counts.unpublishedHits += 1;
      if (isWithin(hidden.share, address, this.random)) return jsonOf(new Map([[query, hidden]]));
      this.counts.unpublishedPercentMisses += 1;
    }
    const known = this.published?.get(query);
    if (!known) this.counts.unpublishedMisses += 1;
    else if (known.addresses.length > 0) this.counts.publishedHits += 1;
    else this.counts.publishedMisses += 1;
    return this.publishedJson;
  }

  private async resolveAll(names: readonly string[]): Promise<Map<string, Entry>> {
    const entries = new Map<string, Entry>();
    const end = performance.now() + BUDGET;
    const answered = <T>(answer: Promise<T>) => inTime(answer, end - performance.now(), 'no answer in time');
    for (const each of names) {
      const [name, ...rest] = each.split('/') as [string, ...string[]];
      const textName = rest.join('/');
      try {
        const addresses = await answered(this.resolver.addresses(name));
        entries.set(name, { addresses, share: textName === '' ? 1 : 0 });
        if (textName === '') continue;
        entries.set(name, { addresses, share: shareOf(await answered(this.resolver.texts(textName))) });
      } catch (error) {
        this.warn(each, error as Error);
      }
    }
    return entries;
  }
}

/** The percentage in the last TXT record that has one. */
function shareOf(texts: readonly string[]): number {
  const percents = texts.filter((text) => /^[+-]?\d+$/.test(text)).map(Number);
  return (percents.findLast((percent) => percent >= 0 && percent <= 100) ?? 0) / 100;
}

const MASK_64 = (1n << 64n) - 1n;
const MASK_128 = (1n << 128n) - 1n;

/**
 * Whether a client belongs to the `share` that gets a name. The choice depends on its address alone, and equals
 * derper's.
 */
export function isWithin(share: number, address: string, random: () => number): boolean {
  if (share === 0) return false;
  if (share === 1) return true;
  const bytes = addressBytes(address);
  if (!bytes) return false;
  if (/^127\.|^::1$/.test(address)) return random() < 0.5;
  return share > firstFloat(bytes.readBigUInt64LE(0), bytes.readBigUInt64LE(8));
}

/** The first Float64 of Go's PCG with this seed. */
function firstFloat(high: bigint, low: bigint): number {
  const multiplier = 0x2360ed051fc65da44385df649fccf645n;
  const increment = 0x5851f42d4c957f2d14057b7ef767814fn;
  const state = (((high << 64n) | low) * multiplier + increment) & MASK_128;
  const odd = (state & MASK_64) | 1n;
  let mixed = state >> 64n;
  mixed ^= mixed >> 32n;
  mixed = (mixed * 0xda942042e4dd58b5n) & MASK_64;
  mixed ^= mixed >> 48n;
  mixed = (mixed * odd) & MASK_64;
  return Number(mixed & ((1n << 53n) - 1n)) / 2 ** 53;
}

/** JSON as Go prints it: tabs, sorted names, no newline at the end. */
function jsonOf(entries: ReadonlyMap<string, Entry>): string {
  if (entries.size === 0) return 'null';
  const rows = [...entries]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
    .map(([name, { addresses }]) => {
      const list = addresses.map((address) => `\n\t\t${JSON.stringify(address)}`).join(',');
      return `\t${JSON.stringify(name)}: [${list}${list && '\n\t'}]`;
    });
  return `{\n${rows.join(',\n')}\n}`;
}

function shuffle<T>(list: readonly T[], random: () => number): T[] {
  const shuffled = [...list];
  for (let index = shuffled.length - 1; index > 0; index--) {
    const other = Math.floor(random() * (index + 1));
    [shuffled[index], shuffled[other]] = [shuffled[other] as T, shuffled[index] as T];
  }
  return shuffled;
}

function systemResolver(): NameResolver {
  return {
    addresses: async (name) =>
      isIP(name) ? [name] : (await lookup(name, { all: true, verbatim: true })).map(({ address }) => address),
    texts: async (name) => (await new Resolver().resolveTxt(name)).map((parts) => parts.join('')),
  };
}
