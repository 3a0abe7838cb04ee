/**
 * Where derpkit answers otherwise than derper on purpose. Each entry takes one difference out of the transcripts of both
 * sides, names its reason, and the case that fails without it.
 */

export interface Deviation {
  readonly name: string;
  readonly reason: string;
  /** The case that fails without this entry. */
  readonly shownBy: string;
  /** The cases that it is about; all, if not given. */
  readonly cases?: RegExp;
  /** A transcript without what differs. */
  without(lines: readonly string[]): readonly string[];
}

export const DEVIATIONS: readonly Deviation[] = [
  {
    name: 'the order of header fields',
    reason: 'Go sorts them and puts its own behind them; Node writes them as they were set. Their order means nothing.',
    shownBy: 'plain: GET /robots.txt',
    without: sortedFields,
  },
  {
    name: 'the text of pages',
    reason: 'Sentences are our own. Status, type and headers are derper’s; what the pages say has unit tests.',
    shownBy: 'plain: GET /',
    without: (lines) => {
      if (!lines.some((line) => line.startsWith('| <html'))) return lines;
      return [...lines.filter((line) => !line.startsWith('|') && !isLength(line)), '| a page'];
    },
  },
  {
    name: 'the length of a page that was asked for with HEAD',
    reason: 'It is that of our own text.',
    shownBy: 'plain: HEAD /',
    cases: /HEAD \/$/,
    without: (lines) => (lines.includes('< Content-Type: text/html; charset=utf-8') ? withoutLength(lines) : lines),
  },
  {
    name: 'the port of redirects to HTTPS',
    reason:
      'derper sends clients that name its plain port back to it, where nothing answers TLS; we name that of TLS. Of other ports neither knows more than the client.',
    shownBy: 'port80: GET /x (its own port)',
    cases: /^port80: GET \/x \(its own port\)$/,
    without: (lines) => withoutLength(lines).map((line) => line.replace(/(derp\.test):<(?:http )?port>/, '$1')),
  },
  {
    name: 'who may see /debug/',
    reason:
      'Any page in a browser beside the relay can make a name of its own lead to it, and a proxy beside it may say no more of its client than X-Real-IP or Forwarded: derper shows both everything, we nothing.',
    shownBy: 'plain: GET /debug/check (a name that is not ours)',
    cases: /: GET \/debug\/check \((?:a name that is not ours|from a proxy that says .*)\)$/,
    without: () => [],
  },
  {
    name: 'redirects of absolute targets',
    reason: 'derper puts the whole target behind the host, which is no address; we put its path there.',
    shownBy: 'port80: GET http://other.test/derp/probe',
    cases: /^port80: GET http:/,
    without: (lines) =>
      withoutLength(lines).map((line) =>
        line.replace(/https:\/\/other\.testhttp:\/\/other\.test/, 'https://derp.test'),
      ),
  },
  {
    name: 'methods that Node does not know',
    reason: 'Its parser refuses them, before anybody could say anything else. No client uses one.',
    shownBy: 'plain: BOGUS /derp',
    cases: /: BOGUS /,
    without: () => [],
  },
  {
    name: 'a refused upgrade ends its connection',
    reason: 'Node gives up a connection with the first upgrade that it hands over. Clients connect again.',
    shownBy: 'port80: GET /derp (upgrade)',
    cases: /upgrade|fast start/,
    without: (lines) => lines.filter((line) => !/^(?:kept|closed|< Connection: (?:close|keep-alive))$/.test(line)),
  },
  {
    name: 'the text of refused WebSocket handshakes',
    reason: 'Sentences are our own; statuses and headers are derper’s.',
    shownBy: 'plain: upgrade: websocket, no key',
    cases: /: upgrade: websocket, /,
    without: (lines) => {
      if (!lines.some((line) => /^< HTTP\S* 4/.test(line))) return lines;
      return withoutLength(lines).filter((line) => !line.startsWith('| '));
    },
  },
  {
    name: 'the letters of header names',
    reason: 'Go writes Sec-Websocket; we write what RFC 6455 does. Upper and lower case mean the same in them.',
    shownBy: 'plain: upgrade: websocket',
    cases: /: upgrade: websocket/,
    without: (lines) => lines.map((line) => line.replace('< Sec-WebSocket-', '< Sec-Websocket-')),
  },
  {
    name: 'the version in answers to HTTP/1.0',
    reason: 'Node says HTTP/1.1 to everybody, as RFC 9110 wants it; Go says what it was asked with.',
    shownBy: 'plain: upgrade: websocket, HTTP/1.0',
    cases: /HTTP\/1\.0$/,
    without: (lines) => lines.map((line) => line.replace('< HTTP/1.0 ', '< HTTP/1.1 ')),
  },
  {
    name: 'what is wrong with a header name',
    reason: 'Node’s parser does not say.',
    shownBy: 'plain: GET / (a blank in a name)',
    cases: /a blank in a name/,
    without: (lines) => lines.map((line) => line.replace(': invalid header name', '')),
  },
  {
    name: 'line feeds in later requests of a connection',
    reason:
      'Node’s parser refuses them. Of the first request the plane has made CR LF of them; health checks send no more.',
    shownBy: 'plain: 2 requests with line feeds',
    cases: /: 2 requests with line feeds$/,
    without: () => [],
  },
  {
    name: 'an upgrade without Connection, in a later request of a connection',
    reason:
      'Node gives up a connection only for `Connection: Upgrade`. The plane finds the first request by itself, and every client sends the header.',
    shownBy: 'plain: upgrade: derp, without Connection, in a later request',
    cases: /: upgrade: derp, without Connection, in a later request$/,
    without: () => [],
  },
  {
    name: 'requests beyond those that may wait for their answers',
    reason:
      'Node takes every request of a chunk at once, where Go reads the next one when one is answered: they are bounded.',
    shownBy: 'plain: 40 requests at once',
    cases: /: 40 requests at once$/,
    without: () => [],
  },
  {
    name: 'the state of a tailscaled that does not know a node',
    reason:
      'One that is not logged in knows nobody. We ask it for its state, so that this is a failure and no word about the node.',
    shownBy: 'local: a node, and a stranger',
    cases: /^(?:local|both): /,
    without: (lines) => {
      const at = lines.findIndex((line) => line.startsWith('tailscaled is asked GET /localapi/v0/status'));
      return at < 0 ? lines : [...lines.slice(0, at), ...lines.slice(at + 3)];
    },
  },
  {
    name: 'a kept connection to a verifier that ends without an answer',
    reason: 'We ask once more, on another connection: the verifier may have been restarted since. derper gives up.',
    shownBy: 'open: a connection that is kept ends without an answer',
    cases: /^(?:open|closed|proxied|local|both): /,
    without: withoutRepetition,
  },
];

/** What relays of a mesh do one way or the other. */
export interface MeshDeviation {
  readonly what: string;
  readonly reason: string;
  readonly derpkit: string;
  /** What derper has been seen to do. */
  readonly derper: readonly string[];
}

export const MESH_DEVIATIONS: readonly MeshDeviation[] = [
  {
    what: 'who sends across a stalled link',
    reason:
      'derper writes to the other relay where it reads from its client, who waits up to five seconds; we queue, and drop.',
    derpkit: 'goes on',
    derper: ['waits'],
  },
  {
    what: 'a connection to itself',
    reason: 'derper forgets it, so that it stands until memory is collected; we close it.',
    derpkit: 'is closed',
    derper: ['is closed', 'stays open'],
  },
];

/** What the JavaScript plane cannot do, and derper and the native plane do; `docs/operating.md` has the same table. */
export interface PlaneDeviation {
  readonly what: string;
  readonly reason: string;
}

export const JS_PLANE_DEVIATIONS: readonly PlaneDeviation[] = [
  {
    what: 'clients that vanish and do not answer pings stay until the system gives their connection up, up to 17 minutes',
    reason:
      'Node cannot set TCP_USER_TIMEOUT. Clients whose ClientInfo has CanAckPings are pinged after 45 s of silence, and closed if nothing comes within -tcp-user-timeout; mesh peers and others never send a Pong.',
  },
  {
    what: 'STUN answers to addresses that no interface lists, or beyond 64 of them, leave from the address that the system takes',
    reason: 'Node does not say which address a datagram came to; a socket for each address that is known does.',
  },
  {
    what: 'round trips of TCP are not counted',
    reason: 'Node does not tell them.',
  },
];

/** Clients that derper serves over TLS, and we do not. */
export interface TlsDeviation {
  readonly client: string;
  readonly reason: string;
  /** What Node's client has to be told to be such a one. */
  readonly options: Readonly<{ ALPNProtocols?: string[]; maxVersion?: 'TLSv1.2'; ciphers?: string }>;
}

export const TLS_DEVIATIONS: readonly TlsDeviation[] = [
  {
    client: 'offers h2 alone by ALPN',
    reason:
      'DERP cannot run over HTTP/2. derper serves its pages over it; browsers and probes all offer http/1.1, too.',
    options: { ALPNProtocols: ['h2'] },
  },
  {
    client: 'has CBC suites of TLS 1.2 alone (Windows Server 2012)',
    reason: 'Their padding has been broken again and again. Every client of Tailscale’s since 2018 has AEAD suites.',
    options: { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA' },
  },
];

/** What signals do to relays without files to read again. */
export interface SignalDeviation {
  readonly signal: 'SIGHUP' | 'SIGUSR1';
  readonly derper: 'ends' | 'goes on';
  /** What is logged by a relay of ours, which goes on. */
  readonly derpkit: RegExp;
  readonly reason: string;
}

export const SIGNAL_DEVIATIONS: readonly SignalDeviation[] = [
  {
    signal: 'SIGHUP',
    derper: 'ends',
    derpkit: /SIGHUP is ignored/,
    reason:
      'derper ends by it without -rate-config, but not under nohup. Node does not tell whether nohup has started it, so that SIGHUP never ends a relay; one without files to read again says so once.',
  },
  {
    signal: 'SIGUSR1',
    derper: 'goes on',
    derpkit: /debug logging is on/,
    reason: 'It turns debug logging on and off. derper takes no notice of it.',
  },
];

/** What is left of a transcript when these deviations are taken out of it. */
export function settled(lines: readonly string[], name: string, deviations: readonly Deviation[]): readonly string[] {
  const here = deviations.filter(({ cases }) => cases?.test(name) ?? true);
  return here.reduce((left, deviation) => deviation.without(left), lines);
}

function isLength(line: string): boolean {
  return line.startsWith('< Content-Length: ');
}

function withoutLength(lines: readonly string[]): readonly string[] {
  return lines.filter((line) => !isLength(line));
}

/** The fields behind each status line, by name. */
function sortedFields(lines: readonly string[]): readonly string[] {
  const result: string[] = [];
  let fields: string[] = [];
  for (const line of [...lines, '']) {
    if (/^< [\w-]+: /.test(line)) {
      fields.push(line);
    } else {
      result.push(...fields.sort(), line);
      fields = [];
    }
  }
  return result.slice(0, -1);
}

/** A question, with the lines that belong to it, stands once where it was asked twice in a row. */
function withoutRepetition(lines: readonly string[]): readonly string[] {
  const blocks: string[] = [];
  for (const line of lines) {
    if (line.startsWith('  ') && blocks.length > 0) blocks.push(`${blocks.pop()}\n${line}`);
    else blocks.push(line);
  }
  const kept = blocks.filter((block, index) => !/ is asked /.test(block) || block !== blocks[index - 1]);
  return kept.flatMap((block) => block.split('\n'));
}
