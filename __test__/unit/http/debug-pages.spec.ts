import { afterEach, describe, expect, it } from 'vitest';
import { DebugAccess } from '../../../src/http/debug-access.js';
import type { SiteOptions } from '../../../src/http/site.js';
import { eventually } from '../../helpers/wait.js';
import { type Answer, Harness, NOTHING_TO_SHOW, parse } from './harness.js';
import { Visit } from './visit.js';

const STYLED =
  "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'; style-src 'self' 'unsafe-inline'";

let main: Harness;

afterEach(() => main.close());

async function asked(lines: string, options: Partial<SiteOptions> = {}): Promise<Answer> {
  main = await Harness.open('main', options);
  return main.ask(lines);
}

/** The debug pages of the harness, with some answers replaced. */
function shows(more: Partial<SiteOptions['debug']>): Partial<SiteOptions> {
  return { debug: { ...NOTHING_TO_SHOW, ...more } };
}

describe('the index of /debug/', () => {
  it('the index lists facts and pages, and escapes HTML', async () => {
    const { status, headers, body } = await asked('GET /debug/ HTTP/1.1');
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'x-frame-options': 'DENY' });
    expect(body).toMatch(/^<!doctype html>\n<html lang="en">\n<head>.*<title>derper debug<\/title><\/head>\n<body>/);
    expect(body).toMatch(/<body><h1>derper debug<\/h1><ul>\n<li>.*<\/li>\n<\/ul><\/body><\/html>\n$/s);
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
        ['fleet', 'the relays of the region, and where a key is, for ?key='],
        ['fleet.json', 'the same relays for programs'],
        ['traffic', 'clients that send or get packets, every two seconds'],
        ['tap', 'packets as they pass, for this machine and the debug key'],
        ['pprof/', 'profiles of the JavaScript thread'],
        ['check', 'whether the books are in order'],
      ].map(([path, about]) => `<li><a href="/debug/${path}">/debug/${path}</a> (${about})</li>`),
    ]);
  });

  it('/debug redirects to the index, with its query', async () => {
    expect(await asked('GET /debug?debugkey=x HTTP/1.1')).toMatchObject({
      status: 307,
      headers: { location: '/debug/?debugkey=x' },
    });
    expect((await main.ask('GET /debug HTTP/1.1')).headers.location).toBe('/debug/');
  });
});

describe('pages below /debug/', () => {
  it.each([
    ['vars', 'application/json; charset=utf-8', '{}\n'],
    ['varz', 'text/plain; charset=utf-8', 'x 1\n'],
  ])('/debug/%s shows the metrics', async (path, type, text) => {
    const { status, headers, body } = await asked(`GET /debug/${path} HTTP/1.1`);
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': type, 'content-security-policy': STYLED });
    expect(body).toBe(text);
  });

  it('/debug/certificates shows a table of certificates, and escapes HTML', async () => {
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

  it('/debug/certificates puts the cells of a row side by side', async () => {
    const certificates = () => [['Names', 'Ends']];
    const { body } = await asked('GET /debug/certificates HTTP/1.1', shows({ certificates }));
    expect(body).toContain('<table>\n<tr><th>Names</th><th>Ends</th></tr>\n</table>');
  });

  it('/debug/check reports that the books are in order', async () => {
    const { status, headers, body } = await asked('GET /debug/check HTTP/1.1');
    expect([status, body]).toEqual([200, 'derp.Server ConsistencyCheck okay']);
    expect(headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'content-security-policy': STYLED });
  });

  it.each([
    ['what is wrong with the books', async () => ['one', 'two'], 'one, two\n'],
    ['why the check failed', () => Promise.reject(new Error('closed')), 'closed\n'],
  ])('/debug/check reports %s', async (_name, check, text) => {
    const { status, headers, body } = await asked('GET /debug/check HTTP/1.1', shows({ check }));
    expect([status, body]).toEqual([500, text]);
    expect(headers).toMatchObject({ 'content-security-policy': STYLED });
  });

  it('a page that fails closes its connection', async () => {
    const varz = () => {
      throw new Error('no figures');
    };
    // The barrier of tests collects what it catches, and this is expected.
    const barrier = { guard: (_what: string, handler: unknown) => handler, settle: settled } as never;
    main = await Harness.open('main', { ...shows({ varz }), barrier });
    expect(await main.raw('GET /debug/varz HTTP/1.1|Host: derp.test')).toBe('');
  });

  it.each([
    ['live', 'text/html; charset=utf-8'],
    ['live?debugkey=a%26b', 'text/html; charset=utf-8'],
    ['live/live.js', 'text/javascript; charset=utf-8'],
    ['live/events', 'text/event-stream'],
    ['clients/', 'text/html; charset=utf-8'],
    ['clients/anything', 'text/html; charset=utf-8'],
    ['clients.json', 'application/json'],
    ['fleet.json', 'application/json'],
    ['pprof/', 'text/html; charset=utf-8'],
  ])('/debug/%s is a page of its own, of type %s', async (path, type) => {
    main = await Harness.open();
    const visit = await new Visit(main.http).ask(`GET /debug/${path} HTTP/1.1|Host: derp.test`);
    const text = await eventually(() => visit.text !== '' && visit.text, 'the page');
    expect(parse(text)).toMatchObject({ status: 200, headers: { 'content-type': type } });
    // What the live page asks for needs the key of the page.
    expect(text.includes('?debugkey=a%26b')).toBe(path.includes('?'));
  });

  it.each(['live/', 'live/nothing', 'live.js', 'xclients/', 'xlive/live.js', 'pprof/nothing', 'events'])(
    '/debug/%s is no page',
    async (path) => {
      expect((await asked(`GET /debug/${path} HTTP/1.1`)).status).toBe(404);
    },
  );

  it('a missing page is answered with status 404', async () => {
    expect(await asked('GET /debug/nothing HTTP/1.1')).toMatchObject({ status: 404, body: '404 page not found\n' });
  });
});

/** Settles as the barrier does, and keeps no books. */
function settled(_what: string, promise: Promise<unknown>, failed: () => void): Promise<void> {
  return promise.then(() => undefined, failed);
}

describe('denied access to /debug/', () => {
  it('a request through a proxy is denied without an explanation', async () => {
    const answer = await asked('GET /debug/vars HTTP/1.1|X-Forwarded-For: 192.0.2.1');
    expect(answer).toMatchObject({ status: 403, body: 'debug access denied\n' });
    expect((await main.ask('GET /debug/ HTTP/1.1|X-Forwarded-For: 192.0.2.1')).status).toBe(403);
    expect((await main.ask('GET /debug/nothing HTTP/1.1|X-Forwarded-For: 192.0.2.1')).status).toBe(403);
  });

  it('with debugHint, a denial says how to permit access, for existing pages alone', async () => {
    const proxied = (path: string) => `GET ${path} HTTP/1.1|X-Forwarded-For: 192.0.2.1`;
    const { body } = await asked(proxied('/debug/vars'), { debugHint: () => true });
    expect(body).toBe('debug access denied; to permit access, set TS_ALLOW_DEBUG_IP=127.0.0.1\n');
    expect((await main.ask(proxied('/debug/nothing'))).body).toBe('debug access denied\n');
  });

  it('a denial says which requests a page answers, where other pages would answer', async () => {
    const { status, body } = await asked('GET /debug/tap HTTP/1.1|Sec-Fetch-Site: cross-site');
    expect(status).toBe(403);
    expect(body).toMatch(
      /^debug access denied: \/debug\/tap answers requests from the machine of the relay, and .*debugKeyFile/,
    );
    expect((await main.ask('GET /debug/vars HTTP/1.1|Sec-Fetch-Site: cross-site')).status).toBe(200);
    const proxied = await main.ask('GET /debug/tap HTTP/1.1|X-Forwarded-For: 127.0.0.1');
    expect(proxied).toMatchObject({ status: 403, body: 'debug access denied\n' });
  });

  it('a denial names a host that is not a name of the relay', async () => {
    const debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => ['other.test'] });
    expect(await asked('GET /debug/vars HTTP/1.1', { debugAccess })).toMatchObject({
      status: 403,
      body: 'debug access denied: derp.test is not a name of this relay; debugHosts adds names\n',
    });
  });

  it('the home page does not mention /debug/ if access is denied', async () => {
    const debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => [] });
    expect((await asked('GET / HTTP/1.1', { debugAccess })).body).toMatch(/<\/ul>\n<\/body>\n<\/html>\n$/);
  });
});
