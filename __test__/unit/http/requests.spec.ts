/** Requests as Go’s server and its mux read them: targets, hosts, and requests for no page. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseTarget } from '../../../src/http/paths.js';
import { Harness, parse } from './harness.js';

let main: Harness;

beforeEach(async () => {
  main = await Harness.open();
});

afterEach(() => main.close());

const ended = 'Connection: close';

describe('requests for the server itself', () => {
  it('OPTIONS * gets an empty answer', async () => {
    const { status, headers, body } = await main.ask('OPTIONS * HTTP/1.1');
    expect([status, headers['content-length'], body]).toEqual([200, '0', '']);
  });

  it('GET * is refused, and ends the connection', async () => {
    const answer = parse(await main.raw('GET * HTTP/1.1|Host: derp.test'));
    expect(answer).toMatchObject({ status: 400, body: '', headers: { connection: 'close' } });
  });
});

describe('targets', () => {
  it.each([
    ['/a//b', '/a/b'],
    ['/a/../b?c=d', '/b?c=d'],
    ['/a/./b/', '/a/b/'],
    ['//', '/'],
    ['/a"//b', '/a%22/b'],
    ['/%c3%01"//b', '/%C3%01%22/b'],
    ['http://derp.test/a//b', '/a/b'],
  ])('the target %s redirects to %s', async (target, location) => {
    expect(await main.ask(`GET ${target} HTTP/1.1`)).toMatchObject({ status: 307, headers: { location } });
  });

  it('a redirect has a link in its body for GET alone', async () => {
    const asked = async (method: string) => {
      const { status, headers, body } = await main.ask(`${method} /a//b HTTP/1.1`);
      expect([status, headers.location]).toEqual([307, '/a/b']);
      return [headers['content-type'], headers['content-length'], body];
    };
    const html = 'text/html; charset=utf-8';
    const link = '<a href="/a/b">Temporary Redirect</a>.\n\n';
    expect(await asked('GET')).toEqual([html, String(link.length), link]);
    expect(await asked('HEAD')).toEqual([html, undefined, '']);
    expect(await asked('POST')).toEqual([undefined, '0', '']);
  });

  it('an escaped letter in a target means that letter', async () => {
    expect((await main.ask('GET /rob%6fts.txt HTTP/1.1')).body).toContain('Disallow');
    expect((await main.ask('GET /robots%2Etxt HTTP/1.1')).body).toContain('Disallow');
  });

  it('an escaped slash in a target separates nothing', async () => {
    expect(parseTarget('/a%2Fb%41')).toEqual({ path: '/a%2FbA', query: '', redirect: undefined });
    expect((await main.ask('GET /derp%2fprobe HTTP/1.1')).body).toContain('<h1>DERP</h1>');
  });

  it.each(['/%zz', '/%4z', '/%'])('a target with a malformed escape, %s, is refused in Go’s form', async (target) => {
    const all = await main.raw(`GET ${target} HTTP/1.1|Host: derp.test`);
    expect(all).toBe(
      'HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n400 Bad Request',
    );
  });

  it('a target in absolute form needs a path', async () => {
    expect((await main.ask('GET http://derp.test HTTP/1.1')).status).toBe(307);
    expect((await main.ask('GET http://derp.test/robots.txt HTTP/1.1')).body).toContain('Disallow');
  });
});

describe('the Host header', () => {
  const refused = (reason: string) => ({ status: 400, body: `400 Bad Request: ${reason}` });

  it('HTTP/1.1 requires a Host header, and HTTP/1.0 does not', async () => {
    expect(parse(await main.raw(`GET / HTTP/1.1|${ended}`))).toMatchObject(refused('missing required Host header'));
    expect(parse(await main.raw('GET / HTTP/1.0')).status).toBe(200);
  });

  it('a malformed Host header is refused, and an empty one accepted', async () => {
    const malformed = refused('malformed Host header');
    expect(parse(await main.raw(`GET / HTTP/1.1|Host: a b|${ended}`))).toMatchObject(malformed);
    expect(parse(await main.raw('GET / HTTP/1.0|Host: a b'))).toMatchObject(malformed);
    expect(parse(await main.raw(`GET / HTTP/1.1|Host:|${ended}`)).status).toBe(200);
  });

  it('a second Host header is refused', async () => {
    const twice = parse(await main.raw(`GET / HTTP/1.1|Host: a.test|Host: a.test|${ended}`));
    expect(twice).toMatchObject({ status: 400, body: '400 Bad Request' });
  });
});

describe('bodies', () => {
  it('a body with an unknown transfer encoding is refused', async () => {
    const all = parse(await main.raw('POST / HTTP/1.1|Host: derp.test|Transfer-Encoding: gzip'));
    expect(all).toMatchObject({ status: 501, body: 'Unsupported transfer encoding' });
  });

  it('a body with a length and an unknown transfer encoding is refused for its encoding', async () => {
    const coded = 'POST / HTTP/1.1|Host: derp.test|Content-Length: 5|Transfer-Encoding: gzip';
    expect(parse(await main.raw(coded))).toMatchObject({ status: 501, body: 'Unsupported transfer encoding' });
  });

  it('a body longer than Go can count is refused', async () => {
    const all = parse(await main.raw(`POST / HTTP/1.1|Host: derp.test|Content-Length: ${2n ** 63n}`));
    expect(all).toMatchObject({ status: 400, body: '400 Bad Request', headers: { connection: 'close' } });
  });

  it('the server answers Expect: 100-continue without waiting for the body', async () => {
    const all = await main.raw('POST / HTTP/1.1|Host: derp.test|Content-Length: 5|Expect: 100-continue');
    expect(parse(all)).toMatchObject({ status: 200, headers: { connection: 'close' } });
  });
});

describe('/bootstrap-dns', () => {
  it('/bootstrap-dns answers the query of a client in JSON, and ends the connection', async () => {
    const { status, headers, body } = parse(await main.raw('GET /bootstrap-dns?q=a.test HTTP/1.1|Host: derp.test'));
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      connection: 'close',
      'x-content-type-options': 'nosniff',
    });
    expect(JSON.parse(body)).toEqual({ query: 'a.test', address: '127.0.0.1' });
  });

  it('a request for /bootstrap-dns may have no query', async () => {
    expect(JSON.parse((await main.ask('GET /bootstrap-dns HTTP/1.1')).body).query).toBeNull();
  });
});

describe('the home page of Tailscale’s relays', () => {
  it.each([
    ['derp1.tailscale.com', true],
    ['derp1.tailscale.com.', true],
    ['derp1.example.com', false],
    ['xderp1.tailscale.com', false],
    ['derp1.tailscale.com.example.com', false],
  ])('the home page of %s says where to report abuse: %s', async (hostname, says) => {
    const other = await Harness.open('main', { hostname });
    try {
      const { body } = await other.ask('GET / HTTP/1.1');
      expect(body.includes('mailto:security@tailscale.com')).toBe(says);
      expect(body.includes('https://tailscale.com/security-policies')).toBe(says);
      expect(body.includes('https://tailscale.com/tailscale-aup')).toBe(says);
    } finally {
      await other.close();
    }
  });
});

describe('CONNECT', () => {
  it('CONNECT without TLS is answered with status 404', async () => {
    expect(await main.ask('CONNECT derp.test:443 HTTP/1.1')).toMatchObject({ status: 404 });
  });
});

describe('challenges of certificate authorities', () => {
  const path = '/.well-known/acme-challenge/token';
  const asks: string[] = [];
  const answers = (status: number) => ({
    challengeAnswer: async (host: string, asked: string) => {
      asks.push(`${host} ${asked}`);
      return { status, text: 'the answer' };
    },
  });

  it('plain HTTP answers a challenge for the host of the request', async () => {
    const plain = await Harness.open('redirect', answers(200));
    const { status, headers, body } = await plain.ask(`GET ${path} HTTP/1.1`);
    expect([status, headers['content-type'], body]).toEqual([200, 'text/plain; charset=utf-8', 'the answer']);
    expect(asks).toEqual([`derp.test ${path}`]);
    await plain.raw(`GET ${path} HTTP/1.0`);
    expect(asks[1]).toBe(` ${path}`);
    expect((await plain.ask('GET /x/.well-known/acme-challenge/ HTTP/1.1')).status).toBe(302);
    await plain.close();
  });

  it('plain HTTP answers an unknown challenge with an error', async () => {
    const plain = await Harness.open('redirect', answers(404));
    expect(await plain.ask(`GET ${path} HTTP/1.1`)).toMatchObject({ status: 404, body: 'the answer\n' });
    await plain.close();
  });

  it('plain HTTP redirects the path of a challenge to TLS if no challenge is expected', async () => {
    const plain = await Harness.open('redirect');
    expect((await plain.ask(`GET ${path} HTTP/1.1`)).headers.location).toBe(`https://derp.test${path}`);
    await plain.close();
  });
});

describe('debug pages beside TLS', () => {
  it('plain HTTP serves /debug and the pages below', async () => {
    const plain = await Harness.open('redirect');
    expect((await plain.ask('GET /debug HTTP/1.1')).headers.location).toBe('/debug/');
    expect((await plain.ask('GET /debug/varz HTTP/1.1')).body).toBe('x 1\n');
    expect((await plain.ask('GET http://derp.test HTTP/1.1')).headers.location).toBe('/');
    await plain.close();
  });
});
