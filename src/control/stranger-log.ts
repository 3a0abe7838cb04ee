import type { CounterName } from '../plane/counters.js';

/** Milliseconds between two lines. */
const INTERVAL = 60_000;
const FULL_POOL = 'strangers come faster than they log in: some made room for others, or were refused';
const FULL_SHARE =
  'more connections of one address come than limits.perAddress permits before they are admitted: some made room for ' +
  'others, or were refused; raise it, or list the address in limits.exempt if it is a proxy or a router';
/** How often it is looked whether there is anything to say. */
const LOOK = 5_000;

/** Connections that were evicted or refused, by what was full: the share of an address, or a pool. */
export type StrangerFigures = Record<'evicted' | 'refused', Record<'address' | 'pool', number>>;

/** The sum of the plane's figures and the HTTP server's. */
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

/** How much `one` exceeds `other`. */
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
  readonly addr?: string;
  /** The limit that was reached. */
  readonly perAddress?: number;
}

const NONE: StrangerFigures = { evicted: { address: 0, pool: 0 }, refused: { address: 0, pool: 0 } };

/** Reports a flood of connections in the log, with at most one line a minute. */
export class StrangerLog {
  private last = NONE;
  private since = Number.NEGATIVE_INFINITY;
  private timer: NodeJS.Timeout | undefined;
  private address: string | undefined;

  /** `say` gets the increase since its last call. */
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

  /** Reports what is due. `now` is in milliseconds of a monotonic clock. */
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
    else
      this.say({ ...(address !== undefined && { addr: address }), perAddress: this.perAddress(), ...news }, FULL_SHARE);
  }
}
