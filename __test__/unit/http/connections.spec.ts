/** Connections of the HTTP server: how long they stay, what is kept for their turn, and what their end closes. */
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { HttpCounters } from '../../../src/http/counters.js';
import { Visitors } from '../../../src/http/visitors.js';
import { eventually, turn } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';
import { Visit } from './visit.js';

let main: Harness;

afterEach(() => main.close());

const HOST = 'Host: derp.test';
const CHECK = `GET /generate_204 HTTP/1.1\r\n${HOST}\r\n\r\n`;
const PENDING = `GET /debug/check HTTP/1.1\r\n${HOST}\r\n\r\n`;
const UPGRADE = `GET /derp HTTP/1.1\r\n${HOST}\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n`;
const NEVER = { ...NOTHING_TO_SHOW, check: () => new Promise<string[]>(() => {}) };

/** A page whose answer comes when the test says so. */
function checkLater() {
  let answer = (_problems: string[]) => {};
  const check = () =>
    new Promise<string[]>((resolve) => {
      answer = resolve;
    });
  return { debug: { ...NOTHING_TO_SHOW, check }, answer: () => answer([]) };
}

describe('the end of a connection', () => {
  it('every answer that is under way closes once when its connection ends', async () => {
    const closes: number[] = [];
    const join = (response: ServerResponse) => {
      const index = closes.push(0) - 1;
      response.on('close', () => {
        closes[index] = (closes[index] ?? 0) + 1;
      });
    };
    main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, live: { join } as never } });
    const visit = await new Visit(main.http).send(`GET /debug/live/events HTTP/1.1\r\n${HOST}\r\n\r\n`.repeat(3));
    expect(closes).toEqual([0, 0, 0]);
    visit.stream.destroy();
    await turn();
    expect(closes).toEqual([1, 1, 1]);
  });

  it.each([
    ['an upgrade to another protocol', `GET / HTTP/1.1|${HOST}|Connection: Upgrade|Upgrade: h2c`, '200'],
    ['CONNECT', `CONNECT derp.test:443 HTTP/1.1|${HOST}`, '404'],
  ])(
    'a connection is closed behind the answer to %s, even if its client does not end',
    async (_what, lines, status) => {
      main = await Harness.open();
      const visit = await new Visit(main.http).ask(lines);
      expect(visit.text.slice(0, 12)).toBe(`HTTP/1.1 ${status}`);
      expect(visit.stream.destroyed).toBe(true);
    },
  );
});

it('the end of the HTTP server ends its connections, and what they ask for', async () => {
  main = await Harness.open('main', { debug: NEVER });
  const [idle, asking] = [await main.connectAndAsk(), await main.connect()];
  const ends = [idle, asking].map((socket) => once(socket.resume(), 'close'));
  asking.write(PENDING);
  await eventually(() => main.accepted === 2, 'two connections');
  await turn();
  main.http.close();
  await Promise.all(ends);
});

describe('requests under way', () => {
  it('every connection may have one request under way, however many other connections have', async () => {
    const counters = new HttpCounters();
    main = await Harness.open('main', { counters, debug: NEVER, pipelined: 2 });
    const visits = [];
    for (let count = 0; count < 4; count++) visits.push(await new Visit(main.http).send(PENDING));
    expect(visits.map(({ stream }) => stream.destroyed)).toEqual([false, false, false, false]);
    await visits[1]?.send(PENDING);
    expect(visits.map(({ stream }) => stream.destroyed)).toEqual([false, true, false, false]);
    expect(counters.failures.too_many).toBe(1);
  });
});

describe('what follows the last request of a connection', () => {
  const last = PENDING.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n');

  it.each(['nonsense', UPGRADE])('the last request is answered, whatever follows it: %j', async (more) => {
    const { debug, answer } = checkLater();
    const counters = new HttpCounters();
    main = await Harness.open('main', { debug, counters });
    const visit = await new Visit(main.http).send(last + more);
    await visit.send(more);
    expect([visit.text, visit.stream.destroyed]).toEqual(['', false]);
    answer();
    await turn(4);
    expect(visit.text).toMatch(/^HTTP\/1\.1 200 /);
    expect(visit.text.match(/HTTP\/1\.1 /g)).toHaveLength(1);
    expect(visit.stream.writableFinished).toBe(true);
    expect(counters.failures.bad_request).toBe(0);
    expect(main.adopted).toEqual([]);
  });

  it('what follows the last request is not read, so that it keeps no connection open', async () => {
    main = await Harness.open('main', { debug: NEVER });
    const socket = await main.connect();
    socket.write(`${last}x`);
    const theirs = await eventually(() => main.sockets.get(1), 'the connection');
    await eventually(() => theirs.isPaused(), 'the end of reading');
    socket.destroy();
  });

  it('what follows the last answer ends its connection', async () => {
    main = await Harness.open();
    const visit = await new Visit(main.http).ask(
      `GET /derp HTTP/1.1|${HOST}|Connection: close|Upgrade: websocket|Sec-WebSocket-Protocol: derp`,
    );
    expect(visit.text).toMatch(/^HTTP\/1\.1 426 /);
    expect([visit.stream.writableFinished, visit.stream.destroyed]).toEqual([true, false]);
    await visit.send('x');
    expect(visit.stream.destroyed).toBe(true);
  });
});

describe('how long a connection may rest', () => {
  it('a connection with an answer under way does not count as idle, however crowded the server is', async () => {
    const limits = () => ({ duplexes: 4, perAddress: 4, exempt: [] });
    main = await Harness.open('main', { debug: NEVER, visitors: new Visitors(limits, () => false) });
    const sockets = [await main.connect(), await main.connect(), await main.connect()];
    await eventually(() => main.accepted === 3, 'three connections');
    sockets[0]?.write(CHECK + PENDING);
    await once(sockets[0] as (typeof sockets)[number], 'data');
    await turn();
    expect(main.sockets.get(1)?.timeout).toBe(30_000);
    for (const socket of sockets) socket.destroy();
  });
});

describe('an upgrade that waits for its turn', () => {
  it('nothing waits for a client that has left before its turn', async () => {
    main = await Harness.open();
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const visit = await new Visit(main.http, { reads: false }).send(CHECK + UPGRADE);
      expect(vi.getTimerCount()).toBe(1);
      visit.stream.destroy();
      await turn();
      expect(vi.getTimerCount()).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });

  it('an upgrade is forgotten if the answer before it ends the connection', async () => {
    const { debug, answer } = checkLater();
    main = await Harness.open('main', { debug });
    const expecting = PENDING.replace('\r\n\r\n', '\r\nExpect: 100-continue\r\n\r\n');
    const visit = await new Visit(main.http).send(expecting + UPGRADE);
    answer();
    await turn(4);
    expect(visit.text).toMatch(/^HTTP\/1\.1 200 /);
    expect(visit.text).not.toContain('101 Switching Protocols');
    expect(main.adopted).toEqual([]);
  });

  it('bytes behind an upgrade reach the plane, even behind more answers than Node takes at once', async () => {
    main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, varz: () => 'x'.repeat(20_000) } });
    const socket = await main.connect();
    socket.resume();
    socket.write(`GET /debug/varz HTTP/1.1\r\n${HOST}\r\n\r\n`.repeat(30) + UPGRADE);
    for (const byte of 'behind') socket.write(byte);
    const { how, socket: theirs } = await eventually(() => main.adopted[0], 'the upgrade');
    let behind = Buffer.from(how.leftover).toString();
    theirs.on('data', (bytes) => {
      behind += bytes;
    });
    await eventually(
      () => behind === 'behind',
      () => `the bytes behind it, not ${behind}`,
    );
    socket.destroy();
  });

  it('bytes that come while an upgrade waits are kept for the plane', async () => {
    const { debug, answer } = checkLater();
    main = await Harness.open('main', { debug });
    const visit = await new Visit(main.http).send(PENDING + UPGRADE);
    await visit.send('be');
    await visit.send('hind');
    expect(main.adopted).toEqual([]);
    answer();
    await turn(4);
    expect(main.adopted).toHaveLength(1);
    let behind = '';
    visit.stream.on('data', (bytes) => {
      behind += bytes;
    });
    await turn();
    expect(behind).toBe('behind');
  });
});
