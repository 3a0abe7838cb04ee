/** An HTTP server as the plane feeds it: connections come one by one, over the loopback, and it never listens itself. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { HttpCounters } from '../../../src/http/counters.js';
import { DebugAccess } from '../../../src/http/debug-access.js';
import type { FleetReport } from '../../../src/http/fleet-report.js';
import { LiveFeed } from '../../../src/http/live-feed.js';
import { type Face, type HttpOptions, HttpServer } from '../../../src/http/server.js';
import { Site, type SiteOptions } from '../../../src/http/site.js';
import { Visitors } from '../../../src/http/visitors.js';
import type { Adoption, TlsVersion } from '../../../src/plane/plane.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { nodeKey, vectors } from '../vectors.js';

export interface Answer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** A relay without others. */
export const NO_FLEET: FleetReport = {
  ...{ time: 0, mode: 'full', region: 'default', directory: null, relays: [], mesh: [], key: null },
  here: {
    ...{ relay: `nodekey:${'ab'.repeat(32)}`, address: 'derp.test:443', tlsName: 'derp.test', version: '1', since: 0 },
    load: { clients: 0, links: 0, packets: 0 },
  },
};

/** The pages below `/debug/` of a relay that has nothing. */
export const NOTHING_TO_SHOW: SiteOptions['debug'] = {
  facts: () => [],
  vars: () => '',
  varz: () => '',
  certificates: () => [],
  check: async () => [],
  clients: async function* () {},
  counts: () => ({ connections: 0, localKeys: 0 }),
  fleet: async () => NO_FLEET,
  tap: () => ({ stop: () => {}, [Symbol.asyncIterator]: async function* () {} }),
  live: new LiveFeed({ figures: () => ({}), busiest: async () => [] }, STRICT),
};

/** Of the server, and of the site. */
type AllOptions = HttpOptions & SiteOptions;

export class Harness {
  readonly adopted: { readonly id: number; readonly how: Adoption; readonly socket: Socket }[] = [];
  readonly http: HttpServer;
  private readonly server: Server;
  /** The server's ends, by the ids of the connections. */
  readonly sockets = new Map<number, Socket>();
  private lastId = 0;

  private constructor(face: Face, options: Partial<AllOptions>, tlsVersion: TlsVersion | null) {
    const { debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => ['derp.test'] }) } = options;
    const limits = () => ({ duplexes: 100, perAddress: 100, exempt: [] });
    const all: AllOptions = {
      barrier: STRICT,
      probed: () => {},
      draining: () => false,
      counters: new HttpCounters(),
      visitors: new Visitors(limits, (address) => debugAccess.isNear(address)),
      serverKey: nodeKey(vectors.keys.values.server?.public),
      home: '',
      derp: true,
      hostname: 'derp.test',
      ports: () => ({ plain: 80, tls: 443 }),
      bootstrapDns: (query, address) => JSON.stringify({ query, address }),
      debugAccess,
      challengeAnswer: undefined,
      debugHint: () => false,
      debug: {
        ...NOTHING_TO_SHOW,
        facts: () => [['Fact', '<1>']],
        vars: () => '{}\n',
        varz: () => 'x 1\n',
        certificates: () => [['Names'], ['<relay>']],
      },
      onFailure: () => {},
      adopt: (id, how) => this.adopted.push({ id, how, socket: this.sockets.get(id) as Socket }),
      ...options,
    };
    this.http = new HttpServer(all, new Site(all));
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.lastId += 1;
      this.sockets.set(this.lastId, socket);
      // As the plane does: a socket without a listener for errors would end the process.
      socket.on('error', () => socket.destroy());
      const peer = { address: socket.remoteAddress as string, port: socket.remotePort as number };
      this.http.accept(this.lastId, socket, face, { listener: 0, peer, tlsVersion });
    });
  }

  /** With a `tlsVersion` connections pass for ones over TLS, whose bytes the plane hands over in the clear. */
  static async open(
    face: Face = 'main',
    options: Partial<AllOptions> = {},
    tlsVersion: TlsVersion | null = null,
  ): Promise<Harness> {
    const harness = new Harness(face, options, tlsVersion);
    harness.server.listen(0, '127.0.0.1');
    await once(harness.server, 'listening');
    return harness;
  }

  get accepted(): number {
    return this.lastId;
  }

  async close(): Promise<void> {
    for (const socket of this.sockets.values()) socket.destroy();
    this.http.close();
    this.server.close();
    await once(this.server, 'close');
  }

  async connect(): Promise<Socket> {
    const socket = connect((this.server.address() as AddressInfo).port, '127.0.0.1');
    await once(socket, 'connect');
    return socket;
  }

  /** A connection whose first request has been answered with 204. */
  async connectAndAsk(): Promise<Socket> {
    const socket = await this.connect();
    socket.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    let answer = '';
    while (!answer.endsWith('\r\n\r\n')) answer += String((await once(socket, 'data'))[0]);
    if (!answer.startsWith('HTTP/1.1 204 ')) throw new Error(`the first request got ${answer}`);
    return socket;
  }

  /** Sends lines, with `|` for their ends, and a blank one, on a connection of their own. Returns all that comes. */
  async raw(lines: string, behind = ''): Promise<string> {
    const socket = await this.connect();
    socket.write(`${lines.replaceAll('|', '\r\n')}\r\n\r\n${behind}`, 'latin1');
    return received(socket);
  }

  /** The answer to one request, after which the connection ends. */
  async ask(lines: string, behind = ''): Promise<Answer> {
    return parse(await this.raw(`${lines}|Host: derp.test|Connection: close`, behind));
  }
}

/** Everything until the other side ends. */
export async function received(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}

/** Resolves when the connection has ended, whichever way. */
export function closed(socket: Socket): Promise<void> {
  socket.on('error', () => {});
  socket.resume();
  return new Promise((resolve) => socket.once('close', () => resolve()));
}

export function parse(text: string): Answer {
  const end = text.indexOf('\r\n\r\n');
  const [statusLine = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = lines.map((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  });
  return {
    status: Number(statusLine.split(' ')[1]),
    headers: Object.fromEntries(headers),
    body: text.slice(end + 4),
  };
}
