import { reasonOf } from '../errors.js';
import type { Logger } from '../logger.js';
import { Barrier } from './barrier.js';

/** How often one kind of fault is told of, in milliseconds. */
const EVERY = 60_000;
/** Kinds that are told apart; all others count as one. */
const MOST_KINDS = 256;

interface Kind {
  /** When it was told of last, on the clock of `performance.now`. */
  toldAt: number;
  /** How often it has happened since. */
  untold: number;
}

/** Counts what has failed and was survived, and logs each kind of it at most once a minute. */
export class FaultLog {
  /** How often something has failed since the relay was made. */
  count = 0;
  /** What handlers throw is told of here. */
  readonly barrier = new Barrier((what, error) => this.report(what, error));
  private readonly kinds = new Map<string, Kind>();

  constructor(
    private readonly logger: Pick<Logger, 'error'>,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** What the handler named `what` has thrown. The stack is logged, but for what the system has refused. */
  report(what: string, error: unknown): void {
    const isSystem = (error as NodeJS.ErrnoException | undefined)?.errno !== undefined;
    this.tell(what, isSystem || !(error instanceof Error) ? reasonOf(error) : (error.stack ?? error.message));
  }

  /** What a plane says of a fault of its own: what has failed, a colon, and how. */
  tellOfPlane(message: string): void {
    const [, what = 'the plane', text = message] = /^([^:\n]{1,80}(?:: \w+)?): (.*)$/s.exec(message) ?? [];
    this.tell(what, text);
  }

  /** The same where only words are left of the error. */
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
