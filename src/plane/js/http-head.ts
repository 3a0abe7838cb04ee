/** Recognises a raw DERP upgrade in the first bytes of a connection. Pure. */
import {
  bodyFault,
  DERP_PATH,
  isHostField,
  pathOfTarget,
  requestedFraming,
  wantsFastStart,
} from '../../protocol/upgrade.js';

/** A request for `/derp` that becomes raw DERP. */
export interface DerpUpgrade {
  /** The client asks for a fast start: it knows the server's key from the TLS handshake, and wants no HTTP answer. */
  readonly fastStart: boolean;
  readonly notIdeal: boolean;
  /** The offset behind the blank line, where DERP begins. */
  readonly end: number;
}

/**
 * `more`: the head is incomplete. `bad`: no further bytes can make it a request head. `http`: the HTTP server answers
 * it, even if it is malformed.
 */
export type Head = DerpUpgrade | 'more' | 'bad' | 'http';

const LF = 0x0a;
const CR = 0x0d;
const BLANK = 0x20;
const TAB = 0x09;

/** Stands for bytes that are not a request: the HTTP server refuses this byte at once. */
const NO_REQUEST = Buffer.of(0);

/** Method, target without a fragment, version. */
const REQUEST_LINE = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ ([!-"$-~]+) HTTP\/1\.([01])$/;
/** Field name, and a value without control characters. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: it is they that are looked for
const HEADER = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)$/;
const TOKEN = new Set(Buffer.from("!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"));

/**
 * Reads a request head of at most `limit` bytes that arrives in pieces. It looks at each byte once.
 *
 * Lines end with LF, and a CR before it is dropped, as in Go. A line that Go refuses as soon as it is complete is
 * `bad`; so is a request line at its first impossible byte. Only an unambiguous request becomes DERP; odd ones (folded
 * lines, control characters) go to the HTTP server, which refuses them properly. As in derper, the method and
 * `Connection` do not matter.
 */
export class HeadReader {
  private readonly requestLine = new RequestLine();
  private lines = 0;
  /** Offset of the first incomplete line. */
  private lineAt = 0;
  private lookedTo = 0;
  private hasBareLineFeeds = false;
  /** Offset of the end of the head, once it is complete. */
  private end = 0;

  constructor(private readonly limit: number) {}

  /** `received` is everything that has arrived, earlier calls' bytes included. */
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

  /** The bytes for the HTTP server. Node ends lines only at CR LF, so bare LFs of the head are replaced. */
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

  /** Whether the line can be a field: it has a colon, or continues the line before it. */
  private mayBeField(line: Buffer): boolean {
    const isFolded = line[0] === BLANK || line[0] === TAB;
    return isFolded ? this.lines > 1 : line.includes(':');
  }

  private withLineEnds(head: Buffer): Buffer {
    if (!this.hasBareLineFeeds) return head;
    return Buffer.from(head.toString('latin1').replaceAll(/\r?\n/g, '\r\n'), 'latin1');
  }
}

/** Finds the end of `METHOD target HTTP/1.1`, and the first byte that cannot belong to such a line. */
class RequestLine {
  private part: 'method' | 'target' | 'version' = 'method';
  private partAt = 0;

  /** The offset of its LF; -1 while it has not arrived. */
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

/** Whether a byte may stand at offset `at` of `HTTP/1.1` and its CR. */
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
    // If a field is repeated, its first value counts.
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

/** Trims blanks. A regular expression would take quadratic time for blanks in the middle. */
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

/** The plain-text answer of a TLS listener to HTTP, in Go's words. */
export const HTTP_TO_TLS = 'HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n';
const HTTP_BEGINS = ['GET /', 'HEAD ', 'POST ', 'PUT /', 'OPTIO'];

/** Whether the bytes at a TLS listener are HTTP. As in Go, the first five bytes decide. */
export function isHttpToTls(received: Buffer): boolean | 'more' {
  const first = received.toString('latin1', 0, 5);
  if (HTTP_BEGINS.includes(first)) return true;
  return HTTP_BEGINS.some((begin) => begin.startsWith(first)) ? 'more' : false;
}
