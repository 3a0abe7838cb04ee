import { once } from 'node:events';
import type * as http from 'node:http';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { HttpCounters } from '../../../src/http/counters.js';
import { closed, Harness, received } from './harness.js';

/** Time runs a hundred times as fast for the timeouts of this file: the real ones are ten seconds and more. */
const FASTER = 100;

const asked: Record<string, unknown>[] = [];

vi.mock('node:http', async (original) => {
  const real = await original<typeof http>();
  const createServer = (options: Record<string, number | boolean>) => {
    asked.push(options);
    const fast = Object.entries(options).map(([name, value]) => [
      name,
      typeof value === 'number' ? value / FASTER : value,
    ]);
    return real.createServer(Object.fromEntries(fast));
  };
  return { ...real, createServer };
});

let main: Harness;

beforeAll(async () => {
  main = await Harness.open();
});

afterAll(() => main.close());

describe('deadlines of the HTTP server, which never listens', () => {
  it('the HTTP server gives a head ten seconds and a request thirty', () => {
    expect(asked[0]).toMatchObject({ headersTimeout: 10_000, requestTimeout: 30_000 });
    // Late by no more than this.
    expect(asked[0]?.connectionsCheckingInterval).toBeLessThanOrEqual(5_000);
  });

  it('a first head that does not end is refused with status 408', async () => {
    const socket = await main.connect();
    socket.write('GET / HTTP/1.1\r\nHost: derp');
    expect(await received(socket)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('a head that does not end in time counts as a timeout', async () => {
    const counters = new HttpCounters();
    const other = await Harness.open('main', { counters });
    const socket = await other.connect();
    socket.write('GET / HTTP/1.1\r\nHost: derp');
    await received(socket);
    expect(counters.failures).toMatchObject({ timeout: 1, bad_request: 0 });
    await other.close();
  });

  it('a second head that does not end is refused with status 408', async () => {
    const socket = await main.connect();
    socket.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    await once(socket, 'data');
    socket.write('GET / HTTP/1.1\r\nHost: derp');
    expect(await received(socket)).toMatch(/^HTTP\/1\.1 408 /);
  });

  it('a second head that trickles in does not extend its deadline', async () => {
    const socket = await main.connect();
    socket.write('GET /generate_204 HTTP/1.1\r\nHost: derp.test\r\n\r\nGET / HTTP/1.1\r\n');
    const before = socket.bytesWritten;
    const drip = setInterval(() => socket.write('X: y\r\n'), 10);
    await closed(socket);
    clearInterval(drip);
    expect(socket.bytesWritten).toBeGreaterThan(before);
  });

  it('a connection whose request body does not end is closed, even if the answer needs no body', async () => {
    const socket = await main.connect();
    socket.write('GET / HTTP/1.1\r\nHost: derp.test\r\nContent-Length: 10\r\n\r\n');
    const [answer] = await once(socket, 'data');
    expect(String(answer)).toMatch(/^HTTP\/1\.1 200 /);
    // The answer does not end the connection: it is kept alive for the rest of the request.
    expect(String(answer)).not.toMatch(/^Connection: close/im);
    expect(socket.readableEnded).toBe(false);
    await closed(socket);
  });
});
