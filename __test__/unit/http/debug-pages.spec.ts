import { afterEach, describe, expect, it } from 'vitest';
import { DebugAccess } from '../../../src/http/debug-access.js';
import type { HttpOptions } from '../../../src/http/server.js';
import { type Answer, Harness, NOTHING_TO_SHOW } from './harness.js';

const STYLED =
  "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'; style-src 'self' 'unsafe-inline'";

let main: Harness;

afterEach(() => main.close());

async function asked(lines: string, options: Partial<HttpOptions> = {}): Promise<Answer> {
  main = await Harness.open('main', options);
  return main.ask(lines);
}

/** What the harness shows, with other answers in some places. */
function shows(more: Partial<HttpOptions['debug']>): Partial<HttpOptions> {
  return { debug: { ...NOTHING_TO_SHOW, ...more } };
}

describe('the index of /debug/', () => {
  it('lists facts and pages, and takes no text for HTML', async () => {
    const { status, headers, body } = await asked('GET /debug/ HTTP/1.1');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'x-frame-options': 'DENY' });
    expect(body).toMatch(/^<!doctype html>\n<html lang="en">\n<head>.*<title>derper debug<\/title><\/head>\n<body>/);
    const items = body.split('\n').filter((line) => line.includes('<li>'));
    expect(items).toEqual([
      '<li><b>Fact:</b> &lt;1&gt;</li>',
      ...[
        ['vars', 'metrics as JSON'],
        ['varz', 'metrics for Prometheus'],
        ['certificates', 'certificates: their names, ends and next steps'],
        ['clients/', 'clients that are connected, by address, network, key or app'],
        ['live', 'what the relay does, drawn every second'],
        ['clients.json', 'the same list for programs, with every figure'],
        ['traffic', 'clients that send or get packets, every two seconds'],
        ['check', 'whether the books are in order'],
      ].map(([path, about]) => `<li><a href="/debug/${path}">/debug/${path}</a> (${about})</li>`),
    ]);
  });

  it('is where /debug leads, with its query', async () => {
    expect(await asked('GET /debug?debugkey=x HTTP/1.1')).toMatchObject({
      status: 307,
      headers: { location: '/debug/?debugkey=x' },
    });
    expect((await main.ask('GET /debug HTTP/1.1')).headers.location).toBe('/debug/');
  });
});

describe('a page below /debug/', () => {
  it.each([
    ['vars', 'application/json; charset=utf-8', '{}\n'],
    ['varz', 'text/plain; charset=utf-8', 'x 1\n'],
  ])('has the metrics: %s', async (path, type, text) => {
    const { status, headers, body } = await asked(`GET /debug/${path} HTTP/1.1`);
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': type, 'content-security-policy': STYLED });
    expect(body).toBe(text);
  });

  it('has the certificates as a table, and takes no text for HTML', async () => {
    const certificates = () => [['Names'], ['<relay>'], ['b']];
    const { headers, body } = await asked('GET /debug/certificates HTTP/1.1', shows({ certificates }));
    expect(headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': STYLED,
    });
    expect(body).toContain('<title>certificates</title></head>\n<body><h1>certificates</h1><table>\n');
    const rows = '<tr><th>Names</th></tr>\n<tr><td>&lt;relay&gt;</td></tr>\n<tr><td>b</td></tr>\n';
    expect(body).toMatch(new RegExp(`<table>\n${rows}</table></body></html>\n$`));
  });

  it('puts the cells of a row beside each other', async () => {
    const certificates = () => [['Names', 'Ends']];
    const { body } = await asked('GET /debug/certificates HTTP/1.1', shows({ certificates }));
    expect(body).toContain('<table>\n<tr><th>Names</th><th>Ends</th></tr>\n</table>');
  });

  it('says that the books are in order', async () => {
    const { status, headers, body } = await asked('GET /debug/check HTTP/1.1');
    expect([status, body]).toEqual([200, 'derp.Server ConsistencyCheck okay']);
    expect(headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'content-security-policy': STYLED });
  });

  it.each([
    ['what is wrong with them', async () => ['one', 'two'], 'one, two\n'],
    ['why they could not be looked at', () => Promise.reject(new Error('closed')), 'closed\n'],
  ])('says %s', async (_name, check, text) => {
    const { status, headers, body } = await asked('GET /debug/check HTTP/1.1', shows({ check }));
    expect([status, body]).toEqual([500, text]);
    expect(headers).toMatchObject({ 'content-security-policy': STYLED });
  });

  it('that fails costs its connection', async () => {
    const varz = () => {
      throw new Error('no figures');
    };
    // The barrier of tests collects what it catches, and this is expected.
    const barrier = { guard: (_what: string, handler: unknown) => handler, settle: settled } as never;
    main = await Harness.open('main', { ...shows({ varz }), barrier });
    expect(await main.raw('GET /debug/varz HTTP/1.1|Host: derp.test')).toBe('');
  });

  it('that is not there is not found', async () => {
    expect(await asked('GET /debug/nothing HTTP/1.1')).toMatchObject({ status: 404, body: '404 page not found\n' });
  });
});

/** As the barrier does it, but that it keeps no books. */
function settled(_what: string, promise: Promise<unknown>, failed: () => void): Promise<void> {
  return promise.then(() => undefined, failed);
}

describe('access to /debug/', () => {
  it('that a proxy asks for is denied without a word more', async () => {
    const answer = await asked('GET /debug/vars HTTP/1.1|X-Forwarded-For: 192.0.2.1');
    expect(answer).toMatchObject({ status: 403, body: 'debug access denied\n' });
    expect((await main.ask('GET /debug/ HTTP/1.1|X-Forwarded-For: 192.0.2.1')).status).toBe(403);
    expect((await main.ask('GET /debug/nothing HTTP/1.1|X-Forwarded-For: 192.0.2.1')).status).toBe(403);
  });

  it('tells developers how it is had, for the pages that are there', async () => {
    const proxied = (path: string) => `GET ${path} HTTP/1.1|X-Forwarded-For: 192.0.2.1`;
    const { body } = await asked(proxied('/debug/vars'), { debugHint: () => true });
    expect(body).toBe('debug access denied; to permit access, set TS_ALLOW_DEBUG_IP=127.0.0.1\n');
    expect((await main.ask(proxied('/debug/nothing'))).body).toBe('debug access denied\n');
  });

  it('by a name that is not the relay’s says so', async () => {
    const debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => ['other.test'] });
    expect(await asked('GET /debug/vars HTTP/1.1', { debugAccess })).toMatchObject({
      status: 403,
      body: 'debug access denied: derp.test is not a name of this relay; debugHosts adds names\n',
    });
  });

  it('has nothing that a page shows where it is denied', async () => {
    const debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => [] });
    expect((await asked('GET / HTTP/1.1', { debugAccess })).body).toMatch(/<\/ul>\n<\/body>\n<\/html>\n$/);
  });
});
