/** Requests that are refused for what they are: each is counted and reported once, and its connection ends. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { HttpCounters, type RequestFailure } from '../../../src/http/counters.js';
import type { PeerAddress } from '../../../src/plane/plane.js';
import { turn } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';
import { Visit } from './visit.js';

const NONE = { bad_request: 0, too_large: 0, bad_coding: 0, timeout: 0, too_many: 0 };
const HOST = 'Host: derp.test';
const CHECK = `GET /debug/check HTTP/1.1\r\n${HOST}\r\n\r\n`;
const REFUSAL =
  'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request';

let main: Harness;
let counters: HttpCounters;
let told: [RequestFailure, PeerAddress][];
let checks: number;

beforeEach(async () => {
  counters = new HttpCounters();
  [told, checks] = [[], 0];
  const check = () => {
    checks += 1;
    return new Promise<string[]>(() => {});
  };
  main = await Harness.open('main', {
    counters,
    onFailure: (reason, peer) => told.push([reason, peer]),
    debug: { ...NOTHING_TO_SHOW, check },
  });
});

afterEach(() => main.close());

describe('the count of refused requests', () => {
  it.each<[reason: RequestFailure, status: number, lines: string]>([
    ['bad_request', 400, 'nonsense'],
    ['bad_request', 400, 'GET / HTTP/1.1'],
    ['bad_request', 400, `GET /%zz HTTP/1.1|${HOST}`],
    ['bad_coding', 501, `POST / HTTP/1.1|${HOST}|Transfer-Encoding: gzip`],
    ['too_large', 431, `GET / HTTP/1.1|${HOST}|X: ${'x'.repeat(20_000)}`],
  ])('a request counts as %s with status %i, and its client is named', async (reason, status, lines) => {
    const { text } = await new Visit(main.http, { address: '192.0.2.1' }).ask(lines);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(counters.failures).toEqual({ ...NONE, [reason]: 1 });
    expect(told).toEqual([[reason, { address: '192.0.2.1', port: 4321 }]]);
  });

  it.each([
    ['GET /', 200],
    ['GET /debug/nothing', 404],
    ['POST /derp/probe', 405],
    // The client may see the page, and has mistyped its query.
    ['GET /debug/clients/?ip=nowhere', 400],
  ])('%s is no refused request, although it is answered with status %i', async (request, status) => {
    const { text } = await new Visit(main.http).ask(`${request} HTTP/1.1|${HOST}`);
    expect(text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    expect(counters.failures).toEqual(NONE);
    expect(told).toEqual([]);
  });

  it('a connection that breaks off amid a request has brought no malformed one', async () => {
    const visit = await new Visit(main.http).send('GET / HT');
    visit.stream.destroy(new Error('reset'));
    await turn();
    expect(visit.text).toBe('');
    expect(counters.failures).toEqual(NONE);
  });

  it('of requests that come at once, those beyond the bound are neither answered nor counted one by one', async () => {
    const visit = await new Visit(main.http).send(CHECK.repeat(40));
    expect(visit.stream.destroyed).toBe(true);
    expect(counters.failures).toEqual({ ...NONE, too_many: 1 });
    expect(checks).toBe(32);
  });
});

describe('a client that was refused', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  });

  afterEach(() => {
    vi.useRealTimers();
  });

  it('a refused client may go on sending for half a second, and is refused once', async () => {
    const visit = await new Visit(main.http).send('nonsense\r\n\r\n');
    expect(visit.text).toBe(REFUSAL);
    await visit.send('more of it\r\n\r\n');
    vi.advanceTimersByTime(499);
    expect(visit.stream.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(visit.stream.destroyed).toBe(true);
    expect(visit.text).toBe(REFUSAL);
    expect(counters.failures).toEqual({ ...NONE, bad_request: 1 });
  });

  it('a refused client that ends is closed at once, even if it has not taken its answer', async () => {
    const visit = await new Visit(main.http, { reads: false }).send('nonsense\r\n\r\n');
    expect(visit.stream.destroyed).toBe(false);
    visit.stream.push(null);
    await turn();
    expect(visit.stream.destroyed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('nonsense amid an answer only ends the connection', async () => {
    const visit = await new Visit(main.http).ask(`GET /debug/live/events HTTP/1.1|${HOST}`);
    await visit.send('nonsense\r\n\r\n');
    expect(visit.text).toMatch(/^HTTP\/1\.1 200 /);
    expect(visit.text).not.toContain('HTTP/1.1 400');
    expect(visit.stream.destroyed).toBe(true);
    expect(counters.failures).toEqual(NONE);
  });
});
