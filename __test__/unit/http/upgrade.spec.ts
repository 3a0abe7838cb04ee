import { type EventEmitter, once } from 'node:events';
import type { Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { vectors } from '../vectors.js';
import { closed, Harness, parse, received } from './harness.js';

let main: Harness;

beforeAll(async () => {
  main = await Harness.open();
});

afterAll(() => main.close());

beforeEach(() => {
  main.adopted.length = 0;
});

/** The plane finds a DERP upgrade that is a connection's first request; these are its second. */
async function second(lines: string, behind = ''): Promise<Socket> {
  const socket = await main.connectAndAsk();
  socket.write(`${lines.replaceAll('|', '\r\n')}\r\nHost: derp.test\r\nConnection: Upgrade\r\n\r\n${behind}`);
  return socket;
}

async function adoption(): Promise<(typeof main.adopted)[number]> {
  while (main.adopted.length === 0) await new Promise(setImmediate);
  return main.adopted[0] as (typeof main.adopted)[number];
}

describe('upgrades to DERP', () => {
  it.each([
    ['', 'GET /derp HTTP/1.1|Upgrade: DERP', false],
    [' in other case, by another method, with a query', 'POST /derp?x HTTP/1.1|upgrade: dErP', false],
    [' of an early client', 'GET /derp HTTP/1.1|Upgrade: WebSocket', false],
    [' of a client that prefers another node', 'GET /derp HTTP/1.1|Upgrade: DERP|Ideal-Node: 1a', true],
    [' by HTTP/1.0, which knows no codings', 'GET /derp HTTP/1.0|Upgrade: DERP|Transfer-Encoding: gzip', false],
    [' with an empty ideal node', 'GET /derp HTTP/1.1|Upgrade: DERP|Ideal-Node:', false],
  ])('an upgrade to DERP%s is answered to the byte, and given to the plane', async (_name, lines, notIdeal) => {
    const socket = await second(lines);
    const { id, how, socket: theirs } = await adoption();
    expect(how).toEqual({ framing: 'raw', leftover: Buffer.alloc(0), notIdeal });
    theirs.end('greeting');
    expect(await received(socket)).toBe(`${vectors.upgrade.response?.text}greeting`);
    expect(id).toBeGreaterThan(0);
  });

  it('an upgrade to DERP with fast start gets no HTTP answer', async () => {
    const socket = await second('GET /derp HTTP/1.1|Upgrade: DERP|Derp-Fast-Start: 1');
    const { socket: theirs } = await adoption();
    theirs.end('greeting');
    expect(await received(socket)).toBe('greeting');
  });

  it('an upgrade to DERP brings the bytes behind it to the plane', async () => {
    const socket = await second('GET /derp HTTP/1.1|Upgrade: DERP|Derp-Fast-Start: 1', 'client info');
    const { how } = await adoption();
    expect(Buffer.from(how.leftover).toString()).toBe('client info');
    socket.destroy();
  });

  it('after an upgrade to DERP, the plane reads the connection', async () => {
    const socket = await second('GET /derp HTTP/1.1|Upgrade: DERP');
    const { socket: theirs } = await adoption();
    socket.write('more');
    expect(String((await once(theirs, 'data'))[0])).toBe('more');
    socket.destroy();
  });
});

describe('other upgrades', () => {
  it.each([
    ['h2c on a page', 'GET / HTTP/1.1|Upgrade: h2c', 200, /<h1>DERP/],
    ['h2c on the check', 'GET /generate_204 HTTP/1.1|Upgrade: h2c', 204, /^$/],
    ['DERP on the check', 'GET /generate_204 HTTP/1.1|Upgrade: DERP', 204, /^$/],
    ['DERP on another path', 'GET /derp/ HTTP/1.1|Upgrade: DERP', 200, /<h1>DERP/],
    ['DERP on the probe', 'GET /derp/probe HTTP/1.1|Upgrade: DERP', 200, /^$/],
    ['h2c on /derp', 'GET /derp HTTP/1.1|Upgrade: h2c', 426, /^DERP requires connection upgrade\n$/],
    ['a list on /derp', 'GET /derp HTTP/1.1|Upgrade: DERP, h2c', 426, /^DERP requires connection upgrade\n$/],
    ['DERP on a path that means /derp', 'GET //derp HTTP/1.1|Upgrade: DERP', 307, /^<a href="\/derp">/],
    ['DERP on a malformed path', 'GET /%zz HTTP/1.1|Upgrade: DERP', 400, /^400 Bad Request$/],
    ['TLS on robots', 'HEAD /robots.txt HTTP/1.1|Upgrade: TLS/1.0', 200, /^$/],
  ])('an offer of %s is not taken', async (_name, lines, status, body) => {
    const answer = parse(await received(await second(lines)));
    expect(answer.status).toBe(status);
    expect(answer.body).toMatch(body);
    // Node has let go of the connection, so that this was its last request.
    expect(answer.headers.connection).toBe('close');
    expect(main.adopted).toEqual([]);
  });

  it.each([
    ['POST / HTTP/1.1|Upgrade: h2c', 200],
    ['POST /derp HTTP/1.1|Upgrade: h2c', 426],
    ['CONNECT nowhere.test:443 HTTP/1.1', 404],
  ])('an upgrade whose body does not come is answered: %s', async (lines, status) => {
    const answer = parse(await received(await second(`${lines}|Content-Length: 5`)));
    expect([answer.status, answer.headers.connection]).toEqual([status, 'close']);
  });

  it.each([
    ['POST /derp HTTP/1.1|Upgrade: DERP', 426],
    ['CONNECT nowhere.test:443 HTTP/1.1', 404],
  ])('an upgrade for which Node has another stream than the connection is not taken: %s', async (lines, status) => {
    const { server } = main.http as unknown as { server: EventEmitter };
    const emit = server.emit.bind(server);
    onTestFinished(() => {
      server.emit = emit;
    });
    // As Node 26 does while the body of the request is incomplete.
    server.emit = (event: string, ...args: unknown[]) => {
      const [request, , ...rest] = args;
      const isSwitch = event === 'upgrade' || event === 'connect';
      return emit(event, ...(isSwitch ? [request, new PassThrough(), ...rest] : args));
    };
    const answer = parse(await received(await second(lines)));
    expect([answer.status, answer.headers.connection]).toEqual([status, 'close']);
    expect(main.adopted).toEqual([]);
  });

  it('an upgrade with an unknown transfer encoding is refused in Go’s form', async () => {
    const answer = await received(await second('GET /derp HTTP/1.1|Upgrade: DERP|Transfer-Encoding: gzip'));
    expect(answer.split('\r\n')[0]).toBe('HTTP/1.1 501 Not Implemented');
    expect(parse(answer).body).toBe('Unsupported transfer encoding');
    expect(main.adopted).toEqual([]);
  });

  const WEBSOCKET = 'GET /derp HTTP/1.1|Upgrade: websocket|Sec-WebSocket-Version: 13';
  const KEY = '|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';

  it.each([
    ['by another method', `${WEBSOCKET}${KEY}`.replace('GET', 'POST'), 405],
    ['of another version', `${WEBSOCKET}${KEY}`.replace('13', '8'), 400],
    ['without a key', WEBSOCKET, 400],
    ['with two keys', WEBSOCKET + KEY + KEY, 400],
    ['with a short key', `${WEBSOCKET}|Sec-WebSocket-Key: AAAA`, 400],
  ])('a WebSocket %s is refused', async (_name, lines, status) => {
    const answer = parse(await received(await second(`${lines}|Sec-WebSocket-Protocol: derp`)));
    expect(answer.status).toBe(status);
    expect(main.adopted).toEqual([]);
  });

  it('a WebSocket is answered, and given to the plane', async () => {
    const socket = await second(`${WEBSOCKET}${KEY}|Sec-WebSocket-Protocol: x, derp`);
    const { how, socket: theirs } = await adoption();
    expect(how).toEqual({ framing: 'websocket', leftover: Buffer.alloc(0), notIdeal: false });
    theirs.end();
    const answer = parse(await received(socket));
    expect(answer.status).toBe(101);
    expect(answer.headers).toEqual({
      upgrade: 'websocket',
      connection: 'Upgrade',
      date: expect.stringMatching(/ GMT$/),
      // The example of RFC 6455.
      'sec-websocket-accept': 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=',
      'sec-websocket-protocol': 'derp',
    });
  });

  it('a WebSocket with another subprotocol is closed with status 1008', async () => {
    const answer = parse(await received(await second(`${WEBSOCKET}${KEY}|Sec-WebSocket-Protocol: derpx`)));
    expect(answer.status).toBe(101);
    expect(Object.keys(answer.headers).sort()).toEqual(['connection', 'date', 'sec-websocket-accept', 'upgrade']);
    expect(answer.body).toBe('\x88\x28\x03\xf0client must speak the derp subprotocol');
    expect(main.adopted).toEqual([]);
  });
});

describe('upgrades behind unanswered requests, in one chunk', () => {
  const FIRST = 'GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n';
  const both = async (lines: string) => {
    const socket = await main.connect();
    socket.write(
      `${FIRST}${FIRST}${lines.replaceAll('|', '\r\n')}\r\nHost: derp.test\r\nConnection: Upgrade\r\n\r\nbehind`,
    );
    return socket;
  };

  it.each([
    ['an upgrade to something else', 'GET /robots.txt HTTP/1.1|Upgrade: h2c', /^HTTP\/1\.1 200 /],
    [
      'a malformed WebSocket',
      'POST /derp HTTP/1.1|Upgrade: websocket|Sec-WebSocket-Protocol: derp',
      /^HTTP\/1\.1 405 /,
    ],
    ['CONNECT', 'CONNECT x:443 HTTP/1.1', /^HTTP\/1\.1 404 /],
  ])('behind unanswered requests, %s is answered in turn', async (_name, lines, answer) => {
    const [first, second, third] = (await received(await both(lines))).split(/(?=HTTP\/1\.1 )/);
    expect(first).toMatch(/^HTTP\/1\.1 204 /);
    expect(second).toMatch(/^HTTP\/1\.1 204 /);
    expect(third).toMatch(answer);
  });

  it('a request that Node would answer itself is answered in turn, and is the last before an upgrade', async () => {
    const socket = await main.connect();
    const wonder = 'GET / HTTP/1.1\r\nHost: derp.test\r\nExpect: a wonder\r\n\r\n';
    socket.write(`${wonder}GET / HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n`);
    // The client learns that this request was its last.
    expect(parse(await received(socket))).toMatchObject({ status: 417, headers: { connection: 'close' } });
  });

  it('an upgrade of a client that does not read its answers is closed after 30 seconds', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const unread = new Duplex({ read() {}, write() {} });
      const peer = { address: '127.0.0.1', port: 1 };
      main.http.accept(0, unread, 'main', { listener: 0, peer, tlsVersion: null });
      unread.push(`${FIRST}GET /derp HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n`);
      for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
      vi.advanceTimersByTime(29_000);
      expect(unread.destroyed).toBe(false);
      vi.advanceTimersByTime(2_000);
      expect(unread.destroyed).toBe(true);
      expect(main.adopted).toEqual([]);
    } finally {
      vi.useRealTimers();
    }
  });

  it('behind unanswered requests, an upgrade to DERP is answered in turn, and given to the plane', async () => {
    const socket = await both('GET /derp HTTP/1.1|Upgrade: DERP');
    const { how, socket: theirs } = await adoption();
    expect(Buffer.from(how.leftover).toString()).toBe('behind');
    theirs.end('greeting');
    const all = await received(socket);
    expect(all.split('HTTP/1.1 204 ')).toHaveLength(3);
    expect(all.endsWith(`${vectors.upgrade.response?.text}greeting`)).toBe(true);
  });

  it('an upgrade of a client that left does not disturb the server', async () => {
    (await both('GET /derp HTTP/1.1|Upgrade: DERP')).resetAndDestroy();
    await closed(await both('GET / HTTP/1.1|Upgrade: h2c'));
    expect(main.adopted.length).toBeLessThan(2);
  });
});

describe('closing the server', () => {
  it('close ends every connection, even idle ones', async () => {
    const other = await Harness.open();
    const idle = await other.connect();
    idle.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    await once(idle, 'data');
    const slow = await other.connect();
    slow.write('GET / HT');
    const ended = Promise.all([closed(idle), closed(slow)]);
    // Until the server has the second one, too.
    while (other.accepted < 2) await new Promise(setImmediate);
    other.http.close();
    await ended;
    await other.close();
  });
});
