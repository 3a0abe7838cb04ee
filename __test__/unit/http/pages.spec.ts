import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cases, vectors } from '../vectors.js';
import { type Answer, Harness } from './harness.js';

const BROWSER = {
  'strict-transport-security': 'max-age=63072000; includeSubDomains',
  'content-security-policy':
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
};
const HTML = 'text/html; charset=utf-8';

describe('the main pages', () => {
  let main: Harness;

  beforeAll(async () => {
    main = await Harness.open();
  });

  afterAll(() => main.close());

  it.each(['/', '/?x', '/unknown', '/derp/', '/derp/x', '/derpx', '/DERP', '/robots', '/index.html'])(
    '%s is the page about the relay',
    async (path) => {
      const { status, headers, body } = await main.ask(`GET ${path} HTTP/1.1`);
      expect(status).toBe(200);
      expect(headers).toMatchObject({
        ...BROWSER,
        'content-type': HTML,
        'content-length': String(Buffer.byteLength(body)),
      });
      expect(body).toMatch(/<h1>DERP<\/h1>/);
      expect(body).toContain('href="https://tailscale.com/"');
      expect(body).not.toContain('disabled');
    },
  );

  it('the page about the relay serves every method, and has no body for HEAD', async () => {
    const whole = await main.ask('GET / HTTP/1.1');
    const head = await main.ask('HEAD / HTTP/1.1');
    expect(head.body).toBe('');
    expect(head.headers['content-length']).toBe(whole.headers['content-length']);
    expect((await main.ask('DELETE / HTTP/1.1')).body).toBe(whole.body);
  });

  it('/robots.txt sends robots away', async () => {
    const { status, headers, body } = await main.ask('GET /robots.txt HTTP/1.1');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ ...BROWSER, 'content-type': 'text/plain; charset=utf-8' });
    expect(body).toBe('User-agent: *\nDisallow: /\n');
  });

  describe.each(['/derp/probe', '/derp/latency-check'])('the probe %s', (path) => {
    it.each(['GET', 'HEAD'])('a probe with %s gets an empty answer, for every origin', async (method) => {
      const { status, headers, body } = await main.ask(`${method} ${path} HTTP/1.1`);
      expect(status).toBe(200);
      expect(headers['access-control-allow-origin']).toBe('*');
      expect(headers['content-length']).toBe(method === 'GET' ? '0' : undefined);
      expect(body).toBe('');
    });

    it.each(['POST', 'PUT', 'OPTIONS', 'DELETE', 'PATCH'])('a probe with %s is refused', async (method) => {
      expectError(await main.ask(`${method} ${path} HTTP/1.1`), 405, 'bogus probe method');
    });

    it('the query of a probe does not matter', async () => {
      expect((await main.ask(`GET ${path}?x=1 HTTP/1.1`)).status).toBe(200);
    });
  });

  describe('/derp without an upgrade', () => {
    it.each(['GET', 'POST', 'HEAD'])('%s /derp without an upgrade is refused', async (method) => {
      const answer = await main.ask(`${method} /derp HTTP/1.1`);
      expectError(answer, 426, 'DERP requires connection upgrade', method === 'HEAD');
      expect(answer.headers.upgrade).toBeUndefined();
    });

    it('/derp without an upgrade is refused with a query, and in absolute form', async () => {
      expect((await main.ask('GET /derp?x=1 HTTP/1.1')).status).toBe(426);
      expect((await main.ask('GET http://derp.test/derp HTTP/1.1')).status).toBe(426);
    });
  });

  describe('the captive portal check', () => {
    it.each(cases(vectors.noContent))(
      '/generate_204 answers the challenge %s',
      async (_name, { challenge, status, response, cacheControl }) => {
        const sent = Buffer.from(challenge).toString('latin1');
        const answer = await main.ask(`GET /generate_204 HTTP/1.1${challenge && `|X-Tailscale-Challenge: ${sent}`}`);
        expectChallenge(answer, response === '' ? undefined : response);
        expect(answer.status).toBe(status);
        expect(answer.headers['cache-control']).toBe(cacheControl);
      },
    );

    it('the captive portal check serves every method, without a body or a length', async () => {
      for (const method of ['HEAD', 'POST', 'OPTIONS']) {
        const answer = await main.ask(`${method} /generate_204?t=1 HTTP/1.1|X-Tailscale-Challenge: x`);
        expectChallenge(answer, 'response x');
        expect(answer.headers['content-length']).toBeUndefined();
      }
    });
  });

  it('a malformed request is refused', async () => {
    expect((await main.ask('nonsense')).status).toBe(400);
    expect((await main.ask('GET / HTTP/1.1|X: a\x01b')).status).toBe(400);
  });

  it('several requests of one connection are answered in turn', async () => {
    const all = await main.raw(
      'GET /generate_204 HTTP/1.1|Host: x||HEAD /derp/probe HTTP/1.1|Host: x||GET /derp HTTP/1.1|Host: x|Connection: close',
    );
    expect(all.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 204', 'HTTP/1.1 200', 'HTTP/1.1 426']);
  });
});

describe('the setting home', () => {
  let main: Harness;

  afterEach(() => main.close());

  it('the home page may be blank', async () => {
    main = await Harness.open('main', { home: 'blank' });
    const { status, headers, body } = await main.ask('GET /any HTTP/1.1');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ ...BROWSER, 'content-type': HTML, 'content-length': '0' });
    expect(body).toBe('');
  });

  it('the home page may redirect, and the other pages stay', async () => {
    main = await Harness.open('main', { home: 'https://example.com/about?x' });
    const { status, headers } = await main.ask('GET /any HTTP/1.1');
    expect(status).toBe(302);
    expect(headers).toMatchObject({ ...BROWSER, location: 'https://example.com/about?x' });
    await main.close();
    main = await Harness.open('main', { home: 'https://example.com/Ä' });
    expect((await main.ask('GET / HTTP/1.1')).headers.location).toBe('https://example.com/%c3%84');
    // The other pages stay.
    expect((await main.ask('GET /robots.txt HTTP/1.1')).status).toBe(200);
  });

  it('without DERP, the home page says so, and /derp is not found, with and without an upgrade', async () => {
    main = await Harness.open('main', { derp: false });
    expect((await main.ask('GET / HTTP/1.1')).body).toContain('Status: <b>disabled</b>');
    expectError(await main.ask('GET /derp HTTP/1.1'), 404, 'derp server disabled');
    expectError(await main.ask('GET /derp HTTP/1.1|Upgrade: DERP|Connection: Upgrade'), 404, 'derp server disabled');
    expect((await main.ask('GET /derp/probe HTTP/1.1')).status).toBe(200);
  });
});

describe('plain HTTP beside TLS', () => {
  let redirect: Harness;

  beforeAll(async () => {
    redirect = await Harness.open('redirect');
  });

  afterAll(() => redirect.close());

  it.each([
    // A client with access to /debug/ is sent there, and tests come from loopback.
    ['GET / HTTP/1.1', 'https://derp.test/debug/'],
    ['GET / HTTP/1.1|X-Forwarded-For: 192.0.2.1', 'https://derp.test/'],
    ['HEAD / HTTP/1.1', 'https://derp.test/debug/'],
    ['GET /a/b?c=d&e HTTP/1.1', 'https://derp.test/a/b?c=d&e'],
    ['GET /derp HTTP/1.1', 'https://derp.test/derp'],
    ['GET /derp/probe HTTP/1.1', 'https://derp.test/derp/probe'],
    ['GET /robots.txt HTTP/1.1', 'https://derp.test/robots.txt'],
  ])('plain HTTP redirects %s to %s', async (request, location) => {
    const { status, headers, body } = await redirect.ask(request);
    expect(status).toBe(302);
    expect(headers.location).toBe(location);
    const link = location.replaceAll('&', '&amp;');
    expect(body).toBe(request.startsWith('HEAD') ? '' : `<a href="${link}">Found</a>.\n\n`);
  });

  it.each<[host: string, plain: number, tls: number, authority: string]>([
    ['derp.test', 80, 443, 'derp.test'],
    ['derp.test:80', 80, 443, 'derp.test'],
    ['192.0.2.1:80', 80, 443, '192.0.2.1'],
    ['[2001:db8::1]:80', 80, 443, '[2001:db8::1]'],
    ['[2001:db8::1]', 80, 443, '[2001:db8::1]'],
    // What is no port is a part of the name.
    ['derp.test:80x', 80, 443, 'derp.test:80x'],
    ['a:b:80', 80, 443, 'a:b:80'],
    ['derp.test', 80, 8443, 'derp.test:8443'],
    ['derp.test:80', 80, 8443, 'derp.test:8443'],
    ['derp.test:8080', 8080, 443, 'derp.test'],
    ['derp.test:8080', 8080, 8443, 'derp.test:8443'],
    ['[2001:db8::1]:8080', 8080, 8443, '[2001:db8::1]:8443'],
    // Behind a port mapping, the usual ports outside.
    ['derp.test', 8080, 8443, 'derp.test'],
    ['[2001:db8::1]', 8080, 8443, '[2001:db8::1]'],
    // Behind another one, of which nothing is known.
    ['derp.test:8000', 8080, 8443, 'derp.test:8000'],
    ['derp.test:80', 8080, 8443, 'derp.test:80'],
    ['derp.test:8080', 80, 443, 'derp.test:8080'],
  ])('plain HTTP redirects %s, with port %i for HTTP and %i for TLS, to %s', async (host, plain, tls, authority) => {
    const other = await Harness.open('redirect', { ports: () => ({ plain, tls }) });
    try {
      const answer = await other.raw(`GET /x HTTP/1.1|Host: ${host}|Connection: close`);
      expect(answer).toContain(`\r\nLocation: https://${authority}/x\r\n`);
    } finally {
      await other.close();
    }
  });

  it('plain HTTP answers the captive portal check, and refuses POST, PUT and OPTIONS', async () => {
    expectChallenge(await redirect.ask('GET /generate_204 HTTP/1.1|X-Tailscale-Challenge: ts_x'), 'response ts_x');
    for (const method of ['POST', 'PUT', 'OPTIONS']) {
      expectError(await redirect.ask(`${method} /any HTTP/1.1`), 400, 'Use HTTPS');
    }
  });

  it('plain HTTP does not upgrade to DERP', async () => {
    const answer = await redirect.ask('GET /derp HTTP/1.1|Upgrade: DERP|Connection: Upgrade');
    expect(answer.status).toBe(302);
    expect(redirect.adopted).toEqual([]);
  });
});

/** Checks an answer of Go’s http.Error. */
function expectError({ status, headers, body }: Answer, expected: number, text: string, head = false): void {
  expect(status).toBe(expected);
  expect(headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' });
  expect(headers['content-length']).toBe(String(text.length + 1));
  expect(body).toBe(head ? '' : `${text}\n`);
}

function expectChallenge({ status, headers, body }: Answer, response: string | undefined): void {
  expect(status).toBe(204);
  expect(headers['x-tailscale-response']).toBe(response);
  expect(body).toBe('');
}
