/** The pages of the metrics listener, on connections from this machine and from others. */
import { describe, expect, it, onTestFinished } from 'vitest';
import type { MetricsSource } from '../../../src/http/metrics-site.js';
import { type Answer, parse } from './harness.js';
import { metricsServer } from './metrics-server.js';
import { Visit } from './visit.js';

const TEXT = 'text/plain; charset=utf-8';
const FAR = '192.0.2.1';
const HOST = 'Host: relay.test';
const TOKEN = 'Authorization: Bearer token';

async function asked(lines: string, source: Partial<MetricsSource> = {}, address = '127.0.0.1'): Promise<Answer> {
  const http = metricsServer(source);
  onTestFinished(() => http.close());
  return parse((await new Visit(http, { address }).ask(lines)).text);
}

const withToken: Partial<MetricsSource> = { isToken: (header) => header === 'Bearer token' };
const unready: Partial<MetricsSource> = { unready: () => ['one reason', 'another'] };

/** An error as the server says it, in one line. */
const error = (status: number, text: string) => ({
  status,
  headers: expect.objectContaining({ 'content-type': TEXT, 'x-content-type-options': 'nosniff' }),
  body: `${text}\n`,
});

describe('pages of the metrics listener', () => {
  it.each([
    ['/metrics', 'text', 't 1\n'],
    ['/metrics?x=y', 'text', 't 1\n'],
    ['/healthz', TEXT, 'alive\n'],
    ['/readyz', TEXT, 'ready\n'],
  ])('%s is answered with type %s, and no cache keeps it', async (path, type, body) => {
    const answer = await asked(`GET ${path} HTTP/1.1|${HOST}`);
    const headers = { 'content-type': type, 'cache-control': 'no-store', 'content-length': String(body.length) };
    expect(answer).toEqual({ status: 200, headers: { ...headers, date: expect.any(String) }, body });
    const head = await asked(`HEAD ${path} HTTP/1.1|${HOST}`);
    expect(head).toEqual({ status: 200, headers: { ...headers, date: expect.any(String) }, body: '' });
  });

  it.each(['/', '/nothing', '/metrics/', '//metrics', '/metrics/../metrics', '/debug/varz'])(
    'no page is at %s, for any method',
    async (path) => {
      for (const method of ['GET', 'POST']) {
        expect(await asked(`${method} ${path} HTTP/1.1|${HOST}`)).toEqual(error(404, '404 page not found'));
      }
    },
  );

  it.each(['POST', 'DELETE', 'OPTIONS'])('%s is refused with the methods that are answered', async (method) => {
    const answer = await asked(`${method} /metrics HTTP/1.1|${HOST}`);
    expect(answer).toEqual(error(405, 'only GET and HEAD are answered here'));
    expect(answer.headers.allow).toBe('GET, HEAD');
  });

  it.each([
    ['a malformed target', `GET /%zz HTTP/1.1|${HOST}`, '400 Bad Request'],
    ['no host', 'GET /metrics HTTP/1.1', '400 Bad Request: missing required Host header'],
  ])('a request with %s is refused as everywhere', async (_what, lines, body) => {
    expect(await asked(lines)).toMatchObject({ status: 400, headers: { connection: 'close' }, body });
  });

  it('an upgrade to DERP is an ordinary request', async () => {
    const answer = await asked(`GET /derp HTTP/1.1|${HOST}|Connection: Upgrade|Upgrade: DERP`);
    expect(answer).toEqual(error(404, '404 page not found'));
  });
});

describe('the form of the metrics', () => {
  const OPEN = 'application/openmetrics-text';
  it.each([
    [undefined, 'text'],
    ['', 'text'],
    ['*/*', 'text'],
    ['text/plain', 'text'],
    [OPEN, 'open'],
    [`${OPEN};version=1.0.0`, 'open'],
    ['APPLICATION/OpenMetrics-Text ; VERSION=1.0.0 ; Q=0.1', 'open'],
    // What a scraper likes as much is as good.
    [`text/plain, ${OPEN}`, 'open'],
    [`text/plain;q=0.5,${OPEN};q=0.5`, 'open'],
    [`${OPEN};q=0.5,text/plain;q=0.4`, 'open'],
    [`text/plain; q=0.9, ${OPEN}; q=0.8`, 'text'],
    // Of several entries of a type, the best counts.
    [`${OPEN};q=0.7,${OPEN};version=0.0.1;q=0.1,text/plain;q=0.5`, 'open'],
    [`text/plain;q=0.7,text/plain;version=0.0.4;q=0.1,${OPEN};q=0.5`, 'text'],
    // Entries of other types count for neither.
    [`*/*,${OPEN};q=0.5`, 'open'],
    [`${OPEN};q=0`, 'text'],
    [`${OPEN}; q=0`, 'text'],
    [`${OPEN};q=x`, 'text'],
    // Another parameter that looks nearly like a quality.
    [`${OPEN};xq=0`, 'open'],
  ])('a scraper that accepts %s gets %s', async (accept, type) => {
    const { headers } = await asked(`GET /metrics HTTP/1.1|${HOST}${accept === undefined ? '' : `|Accept: ${accept}`}`);
    expect(headers['content-type']).toBe(type);
  });
});

describe('readiness', () => {
  it('a relay that does not serve says why', async () => {
    const answer = await asked(`GET /readyz HTTP/1.1|${HOST}`, unready);
    expect(answer).toMatchObject({ status: 503, headers: { 'content-type': TEXT, 'cache-control': 'no-store' } });
    expect(answer.body).toBe('not ready:\none reason\nanother\n');
  });

  it('where there is a token, a client without it learns the status, and no reason', async () => {
    const source = { ...unready, ...withToken };
    expect(await asked(`GET /readyz HTTP/1.1|${HOST}`, source)).toMatchObject({ status: 503, body: 'not ready\n' });
    const { body } = await asked(`GET /readyz HTTP/1.1|${HOST}|${TOKEN}`, source);
    expect(body).toBe('not ready:\none reason\nanother\n');
    expect(await asked(`GET /readyz HTTP/1.1|${HOST}`, withToken)).toMatchObject({ status: 200, body: 'ready\n' });
  });
});

describe('the token of the metrics', () => {
  it.each(['', '|Authorization: Bearer wrong'])('metrics without the token are refused: %j', async (header) => {
    const answer = await asked(`GET /metrics HTTP/1.1|${HOST}${header}`, withToken);
    expect(answer).toEqual(error(401, 'the token of metrics.tokenFile is needed: Authorization: Bearer TOKEN'));
    expect(answer.headers['www-authenticate']).toBe('Bearer realm="metrics"');
  });

  it('the token gives access to the metrics, and health checks need none', async () => {
    expect((await asked(`GET /metrics HTTP/1.1|${HOST}|${TOKEN}`, withToken)).body).toBe('t 1\n');
    expect((await asked(`GET /healthz HTTP/1.1|${HOST}`, withToken)).body).toBe('alive\n');
  });
});

describe('names of the relay', () => {
  it.each(['127.0.0.1', '127.9.9.9', '::1'])(
    'a browser on this machine, at %s, is not led here by a name of another site',
    async (address) => {
      const text = 'evil.test is not a name of this relay; debugHosts adds names, or set metrics.tokenFile';
      for (const path of ['/metrics', '/healthz', '/readyz']) {
        expect(await asked(`GET ${path} HTTP/1.1|Host: evil.test`, {}, address)).toEqual(error(403, text));
      }
      expect((await asked(`GET /metrics HTTP/1.1|${HOST}`, {}, address)).status).toBe(200);
    },
  );

  it('a client on this machine may name no host', async () => {
    expect((await asked('GET /metrics HTTP/1.0')).body).toBe('t 1\n');
  });

  it('a scraper elsewhere may use any name, and so may one with a token', async () => {
    expect((await asked('GET /metrics HTTP/1.1|Host: any.test', {}, FAR)).body).toBe('t 1\n');
    expect((await asked(`GET /metrics HTTP/1.1|Host: any.test|${TOKEN}`, withToken)).body).toBe('t 1\n');
  });
});
