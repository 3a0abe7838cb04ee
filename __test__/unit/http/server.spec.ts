import { once } from 'node:events';
import { Duplex } from 'node:stream';
import { afterEach, describe, expect, it } from 'vitest';
import { HttpCounters } from '../../../src/http/counters.js';
import { Visitors } from '../../../src/http/visitors.js';
import { closed, Harness, NOTHING_TO_SHOW, received } from './harness.js';

let main: Harness;

afterEach(() => main.close());

const CHECK = 'GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n';
const WEBSOCKET =
  'GET /derp HTTP/1.1|Host: derp.test|Connection: Upgrade|Upgrade: websocket|Sec-WebSocket-Version: 13' +
  '|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==|Sec-WebSocket-Protocol: derp';

describe('requests of one connection', () => {
  it('a connection may send 32 requests at once', async () => {
    main = await Harness.open();
    const socket = await main.connect();
    socket.write(CHECK.repeat(31) + CHECK.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    expect((await received(socket)).match(/HTTP\/1\.1 204 /g)).toHaveLength(32);
  });

  it('a connection with 33 requests at once is closed', async () => {
    main = await Harness.open();
    const socket = await main.connect();
    socket.write(CHECK.repeat(33));
    await closed(socket);
    // The server goes on for other connections.
    expect((await main.ask('GET / HTTP/1.1')).status).toBe(200);
  });

  it('a connection is kept alive, without a header in HTTP/1.1 and with one in HTTP/1.0', async () => {
    main = await Harness.open();
    const socket = await main.connect();
    socket.write(CHECK);
    expect(String((await once(socket, 'data'))[0])).not.toMatch(/^Connection:/im);
    socket.write('GET /robots.txt HTTP/1.0\r\nHost: derp.test\r\nConnection: keep-alive\r\n\r\n');
    expect(String((await once(socket, 'data'))[0])).toMatch(/^Connection: keep-alive\r$/im);
    socket.destroy();
  });
});

describe('a server without a free place', () => {
  it('a connection without a place is closed without an answer', async () => {
    const limits = () => ({ duplexes: 0, perAddress: 0, exempt: [] });
    main = await Harness.open('main', { visitors: new Visitors(limits, () => false) });
    const socket = await main.connect();
    socket.on('error', () => {});
    socket.write(CHECK);
    await closed(socket);
    expect(socket.bytesRead).toBe(0);
  });
});

describe('connections that end before the server accepts them', () => {
  it('a connection that ends before its acceptance takes no place', async () => {
    const limits = () => ({ duplexes: 1, perAddress: 1, exempt: [] });
    main = await Harness.open('main', { visitors: new Visitors(limits, () => false) });
    const gone = new Duplex({ read() {}, write() {} });
    gone.destroy();
    await once(gone, 'close');
    main.http.accept(99, gone, 'main', { listener: 0, peer: { address: '127.0.0.1', port: 1 }, tlsVersion: null });
    expect((await main.ask('GET / HTTP/1.1')).status).toBe(200);
  });
});

describe('idle connections', () => {
  it.each([
    // Node adds a second of its own.
    [2, [30_000, 31_000]],
    [3, [7_500]],
  ])(
    'one of %i connections, where four have a place, may be idle for so many milliseconds: %j',
    async (count, patience) => {
      const limits = () => ({ duplexes: 4, perAddress: 4, exempt: [] });
      main = await Harness.open('main', { visitors: new Visitors(limits, () => false) });
      const sockets = [];
      for (let number = 0; number < count; number++) sockets.push(await main.connect());
      const [first] = sockets;
      while (main.accepted < count) await new Promise(setImmediate);
      first?.write(CHECK);
      await once(first as (typeof sockets)[number], 'data');
      await new Promise(setImmediate);
      expect(patience).toContain(main.sockets.get(1)?.timeout);
    },
  );
});

describe('requests over TLS', () => {
  it.each(['1.2', '1.3'] as const)(
    'requests over TLS %s are counted, and count as active until their answers',
    async (tls) => {
      const counters = new HttpCounters();
      const active: number[] = [];
      const bootstrapDns = () => {
        active.push(counters.tlsActive[tls]);
        return '';
      };
      main = await Harness.open('main', { counters, bootstrapDns }, tls);
      await main.ask('GET /bootstrap-dns HTTP/1.1');
      await main.ask('GET / HTTP/1.1|Expect: a wonder');
      expect(counters.tlsRequests).toEqual({ '1.2': 0, '1.3': 0, [tls]: 2 });
      expect(active).toEqual([1]);
      expect(counters.tlsActive).toEqual({ '1.2': 0, '1.3': 0 });
    },
  );

  it('a request over TLS that becomes DERP or WebSocket is counted, and ends as a request', async () => {
    const counters = new HttpCounters();
    main = await Harness.open('main', { counters }, '1.3');
    const webSocket = await main.connect();
    webSocket.write(`${WEBSOCKET.replaceAll('|', '\r\n')}\r\n\r\n`);
    await once(webSocket, 'data');
    expect(counters).toMatchObject({ webSocketAccepts: 1, tlsRequests: { '1.3': 1 }, tlsActive: { '1.3': 0 } });
    const raw = await main.connect();
    raw.write('GET /derp HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n');
    await once(raw, 'data');
    expect(counters).toMatchObject({ webSocketAccepts: 1, tlsRequests: { '1.3': 2 }, tlsActive: { '1.3': 0 } });
    webSocket.destroy();
    raw.destroy();
  });

  it('requests, upgrades and their ends without TLS count for no version of TLS', async () => {
    const counters = new HttpCounters();
    main = await Harness.open('main', { counters });
    const socket = await main.connectAndAsk();
    socket.write('GET /derp HTTP/1.1\r\nHost: derp.test\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n');
    await once(socket, 'data');
    expect(main.adopted).toHaveLength(1);
    const webSocket = await main.connect();
    webSocket.write(`${WEBSOCKET.replaceAll('|', '\r\n')}\r\n\r\n`);
    await once(webSocket, 'data');
    webSocket.destroy();
    expect(counters.webSocketAccepts).toBe(1);
    expect(counters.tlsRequests).toEqual({ '1.2': 0, '1.3': 0 });
    expect(counters.tlsActive).toEqual({ '1.2': 0, '1.3': 0 });
    socket.destroy();
  });

  it('requests over TLS do not count as active after their connection breaks off', async () => {
    const counters = new HttpCounters();
    const check = () => new Promise<string[]>(() => {});
    const debug = { ...NOTHING_TO_SHOW, check };
    main = await Harness.open('main', { counters, debug }, '1.3');
    const socket = await main.connect();
    socket.write('GET /debug/check HTTP/1.1\r\nHost: derp.test\r\n\r\n'.repeat(2));
    while (counters.tlsActive['1.3'] < 2) await new Promise(setImmediate);
    socket.destroy();
    while (counters.tlsActive['1.3'] !== 0) await new Promise(setImmediate);
  });

  it('CONNECT over TLS is refused with status 403', async () => {
    main = await Harness.open('main', {}, '1.3');
    const answer = await main.ask('CONNECT derp.test:443 HTTP/1.1');
    expect(answer).toMatchObject({ status: 403, body: 'CONNECT not enabled\n', headers: { connection: 'close' } });
  });
});

describe('refused WebSockets', () => {
  it('a WebSocket in HTTP/1.0 is refused with the reason', async () => {
    main = await Harness.open();
    const all = await main.raw(WEBSOCKET.replace('HTTP/1.1', 'HTTP/1.0'));
    expect(all).toMatch(/^HTTP\/1\.1 426 /);
    expect(all).toMatch(/\r\n\r\na WebSocket needs HTTP\/1\.1, not HTTP\/1\.0\n$/);
  });

  it('a WebSocket without Connection: Upgrade is refused with the reason, and closed as it asks', async () => {
    main = await Harness.open();
    const all = await main.raw(WEBSOCKET.replace('Connection: Upgrade', 'Connection: close'));
    expect(all).toMatch(/^HTTP\/1\.1 426 /);
    expect(all).toMatch(/\r\nUpgrade: websocket\r\n/);
    expect(all).toMatch(/\r\n\r\na WebSocket needs the header Connection: Upgrade\n$/);
  });
});
