import type { CounterName } from '../plane/counters.js';

/** No more than one line in this time. */
const INTERVAL = 60_000;
const FULL_POOL = 'strangers come faster than they log in: some made room for others, or were refused';
const FULL_SHARE =
  'more connections of one address come than limits.perAddress permits before they are admitted: some made room for ' +
  'others, or were refused; raise it, or list the address in limits.exempt if it is a proxy or a router';
/** How often it is looked whether there is anything to say. */
const LOOK = 5_000;

/** How many connections made room for others, and how many were refused, by what was full: the share of an address, or a pool. */
export type StrangerFigures = Record<'evicted' | 'refused', Record<'address' | 'pool', number>>;

/** Those of a plane, and those of the HTTP server. */
export function strangerFigures(
  counters: Readonly<Record<CounterName, number>>,
  visitors: StrangerFigures,
): StrangerFigures {
  const of = (name: 'evicted' | 'refused') => ({
    address: counters[`strangers_${name}:address`] + visitors[name].address,
    pool: counters[`strangers_${name}:pool`] + visitors[name].pool,
  });
  return { evicted: of('evicted'), refused: of('refused') };
}

/** What one has that another has not. */
function difference(one: StrangerFigures, other: StrangerFigures): StrangerFigures {
  const of = (name: 'evicted' | 'refused') => ({
    address: one[name].address - other[name].address,
    pool: one[name].pool - other[name].pool,
  });
  return { evicted: of('evicted'), refused: of('refused') };
}

/** What is said of a flood. */
export interface StrangerNews extends StrangerFigures {
  /** One of the addresses whose share was full, where that is known. */
  readonly address?: string;
  /** The limit that was reached. */
  readonly perAddress?: number;
}

const NONE: StrangerFigures = { evicted: { address: 0, pool: 0 }, refused: { address: 0, pool: 0 } };

/** What a flood comes to in the log: one line a minute at most. */
export class StrangerLog {
  private last = NONE;
  private since = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private address: string | undefined;

  /** `say` gets what has come since it was called last. */
  constructor(
    private readonly figures: () => StrangerFigures,
    private readonly perAddress: () => number,
    private readonly say: (news: StrangerNews, text: string) => void,
  ) {}

  /** The share of this address is full. */
  crowded(address: string): void {
    this.address = address;
  }

  start(): void {
    this.timer = setInterval(() => this.look(performance.now()), LOOK).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Says what there is to be said at `now`, in milliseconds of a clock that never goes back. */
  look(now: number): void {
    if (now - this.since < INTERVAL) return;
    const figures = this.figures();
    const news = difference(figures, this.last);
    const { evicted, refused } = news;
    if (evicted.address + evicted.pool + refused.address + refused.pool === 0) return;
    this.last = figures;
    this.since = now;
    const { address } = this;
    this.address = undefined;
    if (evicted.address + refused.address === 0) this.say(news, FULL_POOL);
    else this.say({ ...(address !== undefined && { address }), perAddress: this.perAddress(), ...news }, FULL_SHARE);
  }
}
