import { reasonOf } from '../errors.js';
import type { Logger } from '../logger.js';
import { Barrier } from './barrier.js';

/** Milliseconds between two log lines about one kind of fault. */
const EVERY = 60_000;
/** Most kinds that are told apart; all others count as one. */
const MOST_KINDS = 256;

interface Kind {
  /** When it was last logged, on the clock of `performance.now`. */
  toldAt: number;
  /** How often it has occurred since then. */
  untold: number;
}

/** Counts the faults that the relay survived, and logs each kind at most once a minute. */
export class FaultLog {
  /** The number of faults since the relay was made. */
  count = 0;
  /** Reports its exceptions to this log. */
  readonly barrier = new Barrier((what, error) => this.report(what, error));
  private readonly kinds = new Map<string, Kind>();

  constructor(
    private readonly logger: Pick<Logger, 'error'>,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Notes an exception of the handler `what`. Logs the stack, except for errors of the system. */
  report(what: string, error: unknown): void {
    const isSystem = (error as NodeJS.ErrnoException | undefined)?.errno !== undefined;
    this.tell(what, isSystem || !(error instanceof Error) ? reasonOf(error) : (error.stack ?? error.message));
  }

  /** Notes a fault that the plane reports as text: what failed, a colon, and how. */
  tellOfPlane(message: string): void {
    const [, what = 'the plane', text = message] = /^([^:\n]{1,80}(?:: \w+)?): (.*)$/s.exec(message) ?? [];
    this.tell(what, text);
  }

  /** Notes a fault of which only text is known. */
  tell(what: string, text: string): void {
    this.count += 1;
    const kind = this.kindOf(what);
    kind.untold += 1;
    const now = this.now();
    if (now - kind.toldAt < EVERY) return;
    const { untold: times } = kind;
    kind.toldAt = now;
    kind.untold = 0;
    this.logger.error({ ...(times > 1 && { times }), reason: text }, `${what} has failed; nothing else is affected`);
  }

  private kindOf(what: string): Kind {
    const name = this.kinds.size < MOST_KINDS || this.kinds.has(what) ? what : '';
    const known = this.kinds.get(name);
    if (known) return known;
    const kind = { toldAt: Number.NEGATIVE_INFINITY, untold: 0 };
    this.kinds.set(name, kind);
    return kind;
  }
}
