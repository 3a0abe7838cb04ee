import { afterEach, describe, expect, it } from 'vitest';
import { escapeHtml } from '../../../src/http/responses.js';
import { Harness, parse } from './harness.js';
import { Visit } from './visit.js';

let main: Harness;

afterEach(() => main.close());

const HOST = 'Host: derp.test';

describe('probes', () => {
  it.each(['/derp/probe', '/derp/latency-check'])('the query of a request for %s is told', async (path) => {
    const probed: string[] = [];
    main = await Harness.open('main', { probed: (query) => probed.push(query) });
    await main.ask(`GET ${path}?x=1 HTTP/1.1`);
    await main.ask(`HEAD ${path} HTTP/1.1`);
    expect(probed).toEqual(['x=1', '']);
  });

  it('a relay that is about to end refuses probes, and answers everything else', async () => {
    main = await Harness.open('main', { draining: () => true });
    for (const path of ['/derp/probe', '/derp/latency-check']) {
      expect(await main.ask(`GET ${path} HTTP/1.1`)).toMatchObject({
        status: 503,
        body: 'the relay is about to end\n',
      });
    }
    expect((await main.ask('GET /generate_204 HTTP/1.1')).status).toBe(204);
    expect((await main.ask('GET /derp HTTP/1.1')).status).toBe(426);
  });
});

describe('pages below /debug/ for some requests alone', () => {
  it.each([
    ['pprof/profile', 'requests that no web page of another site has sent'],
    ['live/events', 'requests that no web page of another site has sent'],
    [
      'tap',
      'requests from the machine of the relay, and requests with the debug key (debugKeyFile, TS_DEBUG_KEY_PATH)',
    ],
    ['pprof/heapsnapshot', 'requests with the debug key alone (debugKeyFile, TS_DEBUG_KEY_PATH)'],
  ])('/debug/%s tells a web page of another site that it answers %s', async (path, answered) => {
    main = await Harness.open();
    const { status, body } = await main.ask(`GET /debug/${path} HTTP/1.1|Sec-Fetch-Site: cross-site`);
    expect([status, body]).toEqual([403, `debug access denied: /debug/${path} answers ${answered}\n`]);
  });

  it('a client without access to /debug/ is told nothing about its pages', async () => {
    main = await Harness.open();
    for (const path of ['tap', 'vars', 'nothing', 'live/events']) {
      const { text } = await new Visit(main.http, { address: '192.0.2.1' }).ask(`GET /debug/${path} HTTP/1.1|${HOST}`);
      expect(parse(text)).toMatchObject({ status: 403, body: 'debug access denied\n' });
    }
  });

  it.each(['/debug/clients', '/debug/pprof'])('%s redirects to the page with a slash, with its query', async (path) => {
    main = await Harness.open();
    expect(await main.ask(`GET ${path}?a=b HTTP/1.1`)).toMatchObject({
      status: 307,
      headers: { location: `${path}/?a=b` },
    });
  });
});

describe('targets in absolute form beside TLS', () => {
  it.each([
    ['http://derp.test/x?y=z', '/x?y=z'],
    ['http://other.test:8080/x', '/x'],
    ['HTTPS://derp.test/', '/'],
    ['http://derp.test/debug?a', '/debug?a'],
    ['/x?u=http://other.test/y', '/x?u=http://other.test/y'],
    ['http://derp.test/x?u=http://other.test/y', '/x?u=http://other.test/y'],
  ])('plain HTTP redirects %s to %s of the host that is named', async (target, path) => {
    main = await Harness.open('redirect');
    const { text } = await new Visit(main.http, { face: 'redirect' }).ask(`GET ${target} HTTP/1.1|${HOST}`);
    expect(parse(text)).toMatchObject({ status: 302, headers: { location: `https://derp.test${path}` } });
  });

  it('the query of an unclean target stays, and is escaped in the link', async () => {
    main = await Harness.open();
    const { headers, body } = await main.ask(`GET //x?"'&<> HTTP/1.1`);
    expect(headers.location).toBe(`/x?"'&<>`);
    expect(body).toBe('<a href="/x?&#34;&#39;&amp;&lt;&gt;">Temporary Redirect</a>.\n\n');
    expect(escapeHtml(`a"b'c&d<e>f`)).toBe('a&#34;b&#39;c&amp;d&lt;e&gt;f');
  });
});

describe('the page about the relay', () => {
  it('the page about the relay says whom to tell of abuse, that DERP is off, and where its operators look', async () => {
    main = await Harness.open('main', { derp: false, hostname: 'derp12b.tailscale.com' });
    const { body } = await main.ask('GET / HTTP/1.1');
    expect(body).toBe(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>DERP relay</title></head>
<body>
<h1>DERP</h1>
<p>This is a <a href="https://tailscale.com/">Tailscale</a> DERP relay: it carries end-to-end encrypted packets between
devices that cannot reach each other directly, and cannot read them.</p>
<ul>
<li><a href="https://tailscale.com/kb/1232/derp-servers">About DERP servers</a></li>
<li><a href="https://pkg.go.dev/tailscale.com/derp">The protocol</a></li>
<li><a href="https://github.com/tailscale/tailscale/tree/main/cmd/derper#derp">Running one</a></li>
</ul>
<p>To report abuse, write to <a href="mailto:security@tailscale.com">security@tailscale.com</a>: see the
<a href="https://tailscale.com/security-policies">security policies</a> and the
<a href="https://tailscale.com/tailscale-aup">acceptable use policy</a>.</p>
<p>Status: <b>disabled</b></p>
<p>For its operators: <a href="/debug/">/debug/</a></p>
</body>
</html>
`);
  });

  it.each(['derp1.x.tailscale.com', 'derp.tailscale.community', 'derp1xtailscale.com'])(
    'the page of %s is not that of one of Tailscale’s relays',
    async (hostname) => {
      main = await Harness.open('main', { hostname });
      expect((await main.ask('GET / HTTP/1.1')).body).not.toContain('abuse');
    },
  );
});

describe('requests without a page', () => {
  it('CONNECT is answered with status 404, whatever its target', async () => {
    main = await Harness.open();
    expect(await main.ask('CONNECT derp.test:443 HTTP/1.1')).toMatchObject({
      status: 404,
      body: '404 page not found\n',
    });
  });

  it('CONNECT with a path is a request for the page there', async () => {
    main = await Harness.open();
    expect(await main.ask('CONNECT /robots.txt HTTP/1.1')).toMatchObject({ status: 200 });
  });

  it('an answer to a question about the server has no content but its length', async () => {
    main = await Harness.open();
    const { headers } = await main.ask('OPTIONS * HTTP/1.1');
    expect(Object.keys(headers).sort()).toEqual(['connection', 'content-length', 'date']);
  });

  it('a request that expects a wonder is refused without a body', async () => {
    main = await Harness.open();
    const visit = await new Visit(main.http).ask(`GET / HTTP/1.1|${HOST}|Expect: a wonder`);
    const { status, headers, body } = parse(visit.text);
    expect([status, body]).toEqual([417, '']);
    expect(headers).toEqual({ 'content-length': '0', connection: 'close', date: expect.any(String) });
    expect(visit.stream.writableEnded).toBe(true);
  });
});
