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

/**
 * `more`: the head is not whole. `bad`: no further bytes make a request head of it. `http`: the HTTP server's business,
 * malformed requests included.
 */
export type Head = DerpUpgrade | 'more' | 'bad' | 'http';

const LF = 0x0a;
const CR = 0x0d;
const BLANK = 0x20;
const TAB = 0x09;

/** What the HTTP server has instead of what is no request: it refuses this at its first byte. */
const NO_REQUEST = Buffer.of(0);

/** A method, a target without a fragment, a version. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ ([!-"$-~]+) HTTP\/1\.([01])$/;
/** A name, and a value without control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)$/;
const TOKEN = new Set(Buffer.from("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"));

/**
 * Reads one request head, of at most `limit` bytes, as it comes. Each byte is looked at once, however late it comes.
 *
 * Lines end with LF; a CR before it is not part of them, as in Go. What Go refuses as soon as it has the line is `bad`, a
 * request line at the byte that rules it out. Only what is recognised beyond doubt becomes DERP; anything odd (folded
 * lines, control characters) is left to the HTTP server, which knows how to refuse it. As in derper, neither the method nor
 * `Connection` matters.
 */
export class HeadReader {
  private readonly requestLine = new RequestLine();
  private lines = 0;
  /** Where the first line begins that is not whole. */
  private lineAt = 0;
  private lookedTo = 0;
  private hasBareLineFeeds = false;
  /** Where the head ends, once it is whole. */
  private end = 0;

  constructor(private readonly limit: number) {}

  /** `received` is all that has come, with what was handed in before in front. */
  read(received: Buffer): Head {
    const bytes = received.subarray(0, this.limit);
    for (;;) {
      const lineFeed =
        this.lines === 0 ? this.requestLine.endIn(bytes, this.lookedTo) : bytes.indexOf(LF, this.lookedTo);
      if (lineFeed === 'bad') return 'bad';
      if (lineFeed < 0) {
        this.lookedTo = bytes.length;
        return received.length >= this.limit ? 'http' : 'more';
      }
      const line = this.take(bytes, lineFeed);
      if (this.lines > 0 && line.length === 0) {
        this.end = this.lineAt;
        return upgradeOf(this.withLineEnds(bytes.subarray(0, this.end)), this.end);
      }
      if (this.lines > 0 && !this.mayBeField(line)) return 'bad';
      this.lines += 1;
    }
  }

  /** What the HTTP server is to have of what came: it takes CR LF alone for the end of a line. */
  forHttp(received: Buffer, head: Head): Buffer {
    if (head === 'bad') return NO_REQUEST;
    if (!this.hasBareLineFeeds || this.end === 0) return received;
    return Buffer.concat([this.withLineEnds(received.subarray(0, this.end)), received.subarray(this.end)]);
  }

  private take(bytes: Buffer, lineFeed: number): Buffer {
    const hasCr = lineFeed > this.lineAt && bytes[lineFeed - 1] === CR;
    if (!hasCr) this.hasBareLineFeeds = true;
    const line = bytes.subarray(this.lineAt, hasCr ? lineFeed - 1 : lineFeed);
    this.lineAt = lineFeed + 1;
    this.lookedTo = this.lineAt;
    return line;
  }

  /** Without a colon it is none, unless it goes on with the one before it. */
  private mayBeField(line: Buffer): boolean {
    const isFolded = line[0] === BLANK || line[0] === TAB;
    return isFolded ? this.lines > 1 : line.includes(':');
  }

  private withLineEnds(head: Buffer): Buffer {
    if (!this.hasBareLineFeeds) return head;
    return Buffer.from(head.toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1');
  }
}

/** Looks for the end of `METHOD target HTTP/1.1`, and for what can be no such line. */
class RequestLine {
  private part: 'method' | 'target' | 'version' = 'method';
  private partAt = 0;

  /** Where its LF is; -1 if that has not come. */
  endIn(bytes: Buffer, from: number): number | 'bad' {
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      if (this.part === 'version') {
        if (byte === LF && at >= this.partAt + 8) return at;
        if (!isVersion(byte, at - this.partAt)) return 'bad';
      } else if (byte === BLANK && at > this.partAt) {
        this.part = this.part === 'method' ? 'target' : 'version';
        this.partAt = at + 1;
      } else if (this.part === 'method' ? !TOKEN.has(byte) : byte <= BLANK || byte === 0x7f) {
        return 'bad';
      }
    }
    return -1;
  }
}

/** Whether a byte may stand there in `HTTP/1.1` and its CR. */
function isVersion(byte: number, at: number): boolean {
  if (at === 5 || at === 7) return byte >= 0x30 && byte <= 0x39;
  return byte === 'HTTP/x.x\r'.charCodeAt(at);
}

function upgradeOf(head: Buffer, end: number): DerpUpgrade | 'http' {
  const [requestLine = '', ...lines] = head.toString('latin1', 0, head.length - 4).split('\r\n');
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

/** What a TLS listener says, in the clear, to who speaks HTTP to it: Go's words. */
export const HTTP_TO_TLS = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';
const HTTP_BEGINS = ['GET /', 'HEAD ', 'POST ', 'PUT /', 'OPTIO'];

/** Whether what came to a TLS listener is HTTP. As in Go, the first five bytes say so. */
export function isHttpToTls(received: Buffer): boolean | 'more' {
  const first = received.toString('latin1', 0, 5);
  if (HTTP_BEGINS.includes(first)) return true;
  return HTTP_BEGINS.some((begin) => begin.startsWith(first)) ? 'more' : false;
}
