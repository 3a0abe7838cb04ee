/** What the log says of clients that are refused: a client tries again every second, for as long as it is there. */
import { LineLimit } from '../line-limit.js';

/** Log lines about refused clients: this many at once, then one in this many milliseconds. */
const LINES = [5, 500] as const;
/** Milliseconds between two lines about one client that is refused for one reason. */
const SAY_AGAIN = 60_000;
/** Clients that are told apart; of more, the one that was refused longest ago is forgotten. */
const MOST_CLIENTS = 1024;

interface Told {
  readonly at: number;
  /** Refusals since then. */
  times: number;
}

export class RefusalLog {
  private readonly lines: LineLimit;
  private readonly told = new Map<string, Told>();

  /** `now` is milliseconds of a clock that never goes back. */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.lines = new LineLimit(...LINES, now());
  }

  /**
   * A client was refused. Returns what a line says of how often, or `undefined` if there is to be none. `times` counts the
   * refusals of this client since its last line; `heldBack` the lines about others that there was no room for.
   */
  take(key: string, reason: string): { readonly times?: number; readonly heldBack?: number } | undefined {
    const now = this.now();
    const name = `${key} ${reason}`;
    const known = this.told.get(name);
    const times = (known?.times ?? 0) + 1;
    this.told.delete(name);
    if (known && now - known.at < SAY_AGAIN) {
      this.told.set(name, { at: known.at, times });
      return undefined;
    }
    const heldBack = this.lines.take(now);
    if (this.told.size >= MOST_CLIENTS) this.told.delete(this.told.keys().next().value as string);
    this.told.set(name, {
      at: heldBack === undefined ? Number.NEGATIVE_INFINITY : now,
      times: heldBack === undefined ? times : 0,
    });
    if (heldBack === undefined) return undefined;
    return { ...(times > 1 && { times }), ...(heldBack > 0 && { heldBack }) };
  }
}
