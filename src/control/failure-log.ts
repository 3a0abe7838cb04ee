import type { Failure } from '../plane/plane.js';
import { formatEndpoint } from '../protocol/endpoint.js';

/** The most of a server name that a line has. */
const MAX_NAME = 255;
/** Lines: this many at once, then one in this many milliseconds. */
const BURST = 50;
const INTERVAL = 20;

/** A connection that failed before its admission, counted by the plane or by the HTTP server. */
export interface Failed extends Omit<Failure, 'what'> {
  /** The name of a counter; behind the colon stands the reason. */
  readonly what: string;
}

/** What a line says, and the reason, where nothing stands behind the colon. */
type Told = readonly [text: string, reason?: string];

/** By what stands before the colon. */
const TEXTS: Readonly<Record<string, Told>> = {
  handshakes_failed: ['a TLS handshake has failed'],
  requests_failed: ['a connection has brought no request'],
  logins_failed: ['a login has failed'],
  strangers_refused: ['a connection was refused'],
  connections_refused: ['a connection was refused', 'connections'],
  tls_rejects: ['a connection was refused', 'accept_rate'],
  wrong_mesh_keys: ['a client shows a mesh key that is not the one of this relay', 'wrong_mesh_key'],
};

/** One line for each connection that came to nothing, at level debug; of more than a log can bear, their number. */
export class FailureLog {
  private left = BURST;
  private since = Number.NEGATIVE_INFINITY;
  private heldBack = 0;

  constructor(private readonly say: (facts: object, text: string) => void) {}

  /** `untold` is how many more there were; `now` is milliseconds of a clock that never goes back. */
  tell(failures: readonly Failed[], untold: number, now: number): void {
    this.left = Math.min(BURST, this.left + (now - this.since) / INTERVAL);
    this.since = now;
    for (const failure of failures) {
      if (this.left >= 1) this.line(failure);
      else this.heldBack += 1;
    }
    this.heldBack += untold;
  }

  private line({ what, peer: { address, port }, serverName, alert }: Failed): void {
    const [kind, behind] = what.split(':') as [string, ...string[]];
    const [text, reason]: Told = TEXTS[kind] ?? [kind];
    const { heldBack } = this;
    this.left -= 1;
    this.heldBack = 0;
    const facts = {
      ...{ reason: behind ?? reason, addr: formatEndpoint(address, port) },
      ...(serverName !== '' && { serverName: printable(serverName) }),
      ...(alert !== '' && { alert }),
      ...(heldBack > 0 && { heldBack }),
    };
    this.say(facts, text);
  }
}

/** A stranger has chosen it: nothing of it may move a cursor, or read as another line. */
function printable(name: string): string {
  const escaped = (character: string) => `\\u{${(character.codePointAt(0) as number).toString(16)}}`;
  return name.slice(0, MAX_NAME).replace(/[^!-~]/gu, escaped);
}
