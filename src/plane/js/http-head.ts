/** Finds out, from the first bytes of a connection, whether it is a raw DERP upgrade. Pure. */
import {
  bodyFault,
  DERP_PATH,
  isHostField,
  pathOfTarget,
  requestedFraming,
  wantsFastStart,
} from '../../protocol/upgrade.js';

/** A request for `/derp` that is to become raw DERP. */
export interface DerpUpgrade {
  /** The client knows the server's key from the TLS handshake and wants no HTTP answer. */
  readonly fastStart: boolean;
  readonly notIdeal: boolean;
  /** Where DERP begins in the bytes: after the blank line. */
  readonly end: number;
}

/** `more`: the head is not whole. `http`: the HTTP server's business, malformed requests included. */
export type Head = DerpUpgrade | 'more' | 'http';

const END = Buffer.from('\r\n\r\n');

/** A method, a target without a fragment, a version. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ ([!-"$-~]+) HTTP\/1\.([01])$/;
/** A name, and a value without control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)$/;

/**
 * Only what is recognised beyond doubt becomes DERP; anything odd (bare line feeds, folded lines, no valid request line)
 * is left to the HTTP server, which knows how to refuse it. As in derper, neither the method nor `Connection` matters.
 */
export function readHead(bytes: Buffer, limit: number): Head {
  const blank = bytes.indexOf(END);
  if (blank < 0) return bytes.length >= limit ? 'http' : 'more';
  const end = blank + END.length;
  if (end > limit) return 'http';
  const [requestLine = '', ...lines] = bytes.toString('latin1', 0, blank).split('\r\n');
  const [, target, version] = REQUEST_LINE.exec(requestLine) ?? [];
  if (target === undefined || pathOfTarget(target) !== DERP_PATH) return 'http';
  const headers = new Map<string, string>();
  const lengths: string[] = [];
  const codings: string[] = [];
  let hosts = 0;
  for (const line of lines) {
    const [, name, value] = HEADER.exec(line) ?? [];
    if (name === undefined || value === undefined) return 'http';
    const lower = name.toLowerCase();
    const bare = withoutBlanks(value);
    if (lower === 'host') hosts += isHostField(bare) ? 1 : 2;
    else if (lower === 'content-length') lengths.push(bare);
    else if (lower === 'transfer-encoding') codings.push(bare);
    // The first of several values counts.
    if (!headers.has(lower)) headers.set(lower, bare);
  }
  if (hosts > 1 || (hosts === 0 && version === '1')) return 'http';
  if (bodyFault(lengths, codings, version !== '0')) return 'http';
  if (requestedFraming(headers.get('upgrade'), headers.get('sec-websocket-protocol')) !== 'raw') return 'http';
  return {
    fastStart: wantsFastStart(headers.get('derp-fast-start')),
    notIdeal: (headers.get('ideal-node') ?? '') !== '',
    end,
  };
}

/** Without the blanks around it. Not a regular expression: those take quadratic time for blanks that are not at the end. */
function withoutBlanks(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text[start])) start += 1;
  while (end > start && isBlank(text[end - 1])) end -= 1;
  return text.slice(start, end);
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t';
}
