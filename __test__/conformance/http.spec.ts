import { once } from 'node:events';
import { connect } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { bystanderPair } from '../helpers/bystanders.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const BROWSER_HEADERS = {
  'strict-transport-security': 'max-age=63072000; includeSubDomains',
  'content-security-policy':
    "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
};

/** Places for clients with access to `/debug/`, which every client on this machine has. */
const RESERVE = 64;

const HTML = { ...BROWSER_HEADERS, 'content-type': 'text/html; charset=utf-8' };
const ERROR = { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' };

/** A relay with TLS and the plain HTTP that stands beside it. */
function startBoth(lane: (typeof LANES)[number], config = {}): Promise<TestRelay> {
  return startRelay(lane, { tls: true, config: { httpPort: 0, ...config } });
}

describe.each(LANES)('HTTP, $name', (lane) => {
  describe.each([
    { transport: 'plain TCP', tls: false },
    { transport: 'TLS', tls: true },
  ])('at the relay itself, over $transport', ({ tls }) => {
    it('the relay shows a page about itself at / and at any unknown path', async () => {
      const relay = await startRelay(lane, { tls });
      for (const path of ['/', '/?x=1', '/index.html', '/derp/', '/derp/x', '/generate_204/']) {
        const { status, headers, body } = await ask(relay.target(), path);
        expect(status, path).toBe(200);
        expect(headers, path).toMatchObject(HTML);
        expect(body, path).toContain('<h1>DERP</h1>');
        expect(body, path).not.toContain('disabled');
      }
      const head = await ask(relay.target(), '/', { method: 'HEAD' });
      expect(head).toMatchObject({ status: 200, headers: HTML, body: '' });
      expect(Number(head.headers['content-length'])).toBeGreaterThan(100);
      expect((await ask(relay.target(), '/', { method: 'POST', body: 'x'.repeat(100_000) })).status).toBe(200);
    });

    it('the page says that DERP is off', async () => {
      const relay = await startRelay(lane, { tls, config: { derp: false } });
      expect((await ask(relay.target(), '/')).body).toContain('disabled');
      expect(await ask(relay.target(), '/derp')).toMatchObject({
        status: 404,
        headers: ERROR,
        body: 'derp server disabled\n',
      });
      expect((await ask(relay.target(), '/derp/probe')).status).toBe(200);
    });

    it('the relay shows an empty page if home is blank', async () => {
      const relay = await startRelay(lane, { tls, config: { home: 'blank' } });
      expect(await ask(relay.target(), '/')).toMatchObject({ status: 200, headers: HTML, body: '' });
    });

    it('the relay redirects / if home is a URL', async () => {
      const relay = await startRelay(lane, { tls, config: { home: 'https://example.com/about?x' } });
      const headers = { ...BROWSER_HEADERS, location: 'https://example.com/about?x' };
      expect(await ask(relay.target(), '/some/where')).toMatchObject({ status: 302, headers });
      expect((await ask(relay.target(), '/derp/probe')).status).toBe(200);
    });

    it('the relay answers probes', async () => {
      const relay = await startRelay(lane, { tls });
      for (const path of ['/derp/probe', '/derp/latency-check', '/derp/probe?x']) {
        for (const method of ['GET', 'HEAD']) {
          const answer = await ask(relay.target(), path, { method });
          expect(answer, path).toMatchObject({
            status: 200,
            headers: { 'access-control-allow-origin': '*' },
            body: '',
          });
        }
        for (const method of ['POST', 'OPTIONS', 'DELETE']) {
          const answer = await ask(relay.target(), path, { method });
          expect(answer, path).toMatchObject({ status: 405, headers: ERROR, body: 'bogus probe method\n' });
        }
      }
    });

    it('the relay keeps robots out', async () => {
      const relay = await startRelay(lane, { tls });
      const headers = { ...BROWSER_HEADERS, 'content-type': 'text/plain; charset=utf-8' };
      const answer = await ask(relay.target(), '/robots.txt');
      expect(answer).toMatchObject({ status: 200, headers, body: 'User-agent: *\nDisallow: /\n' });
    });

    it('the relay shows /debug/ only under its own names and addresses, and to no proxy', async () => {
      const config = { hostname: 'relay.test', debugHosts: 'other.test' };
      const relay = await startRelay(lane, { tls, config });
      const asked = async (headers: Record<string, string>) =>
        (await ask(relay.target(), '/debug/varz', { headers })).status;
      for (const Host of ['relay.test', 'relay.test.:443', 'other.test', '127.0.0.1', '[::1]:8443', 'localhost']) {
        expect(await asked({ Host }), Host).toBe(200);
      }
      // A page of this name is in a browser beside the relay, and its name leads to the relay now.
      const answer = await ask(relay.target(), '/debug/varz', { headers: { Host: 'evil.test' } });
      expect(answer).toMatchObject({ status: 403, headers: ERROR });
      expect(answer.body).toContain('evil.test is not a name of this relay; debugHosts adds names');
      for (const name of ['X-Forwarded-For', 'X-Forwarded-Host', 'X-Real-IP', 'Forwarded', 'Via']) {
        for (const value of ['', 'for=192.0.2.1']) expect(await asked({ [name]: value }), name).toBe(403);
      }
    });

    it('the relay answers the captive portal check', async () => {
      const relay = await startRelay(lane, { tls });
      await expectCaptivePortalCheck((headers) => ask(relay.target(), '/generate_204?t=1', { headers }));
    });

    it('the relay answers many requests on one connection, even if they arrive at once', async () => {
      const relay = await startRelay(lane, { tls });
      const wire = await Wire.open(relay.target());
      const requests = [...Array(3)].map(() => 'GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
      wire.write(...requests);
      for (const _ of requests) {
        expect((await wire.takeThrough('\r\n\r\n')).toString()).toMatch(/^HTTP\/1\.1 204 No Content\r\n/);
      }
      wire.write(requests[0] as string);
      await wire.takeThrough('\r\n\r\n');
    });

    it('the relay answers a client that has ended its sending side', async () => {
      const relay = await startRelay(lane, { tls });
      const wire = await Wire.open(relay.target());
      wire.write('GET /robots.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      wire.end();
      expect((await wire.rest()).toString()).toMatch(
        /^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nUser-agent: \*\nDisallow: \/\n$/,
      );
    });

    it('the relay answers a request that offers another protocol, and leaves no socket behind', async () => {
      const relay = await startRelay(lane, { tls });
      const before = openSockets();
      const h2c = { Connection: 'Upgrade, HTTP2-Settings', 'HTTP2-Settings': 'AAMAAABkAAQAAP__', Upgrade: 'h2c' };
      for (const [path, status] of [
        ['/', '200 OK'],
        ['/derp/probe', '200 OK'],
        ['/derp', '426 Upgrade Required'],
      ] as const) {
        const wire = await Wire.open(relay.target());
        wire.write(upgradeRequest(h2c, `GET ${path} HTTP/1.1`));
        const [answer] = (await wire.rest()).toString().split('\r\n');
        expect(answer, path).toBe(`HTTP/1.1 ${status}`);
      }
      await eventually(() => openSockets() === before, 'the sockets to be closed');
    });
  });

  describe('HTTP beside TLS', () => {
    it('plain HTTP redirects to TLS', async () => {
      const relay = await startBoth(lane);
      const { port } = relay.target();
      const plain = relay.httpTarget().port;
      for (const path of ['/', '/derp', '/a/b?c=d&e', '/robots.txt']) {
        for (const method of ['GET', 'HEAD']) {
          const answer = await ask(relay.httpTarget(), path, {
            method,
            headers: { Host: `relay.test:${plain}`, 'X-Forwarded-For': '192.0.2.1' },
          });
          expect(answer.status, path).toBe(302);
          expect(answer.headers.location, path).toBe(`https://relay.test:${port}${path}`);
        }
      }
    });

    it('plain HTTP behind a port mapping redirects to the outer TLS port, or to the port in the request', async () => {
      const relay = await startBoth(lane);
      for (const host of ['relay.test', `relay.test:${relay.httpTarget().port - 1}`, '[2001:db8::1]']) {
        const answer = await ask(relay.httpTarget(), '/x', { headers: { Host: host } });
        expect(answer.headers.location).toBe(`https://${host}/x`);
      }
    });

    it('plain HTTP refuses requests that it cannot redirect', async () => {
      const relay = await startBoth(lane);
      for (const method of ['POST', 'PUT', 'OPTIONS']) {
        const answer = await ask(relay.httpTarget(), '/', { method });
        expect(answer).toMatchObject({ status: 400, headers: ERROR, body: 'Use HTTPS\n' });
      }
    });

    it('plain HTTP answers the captive portal check itself', async () => {
      const relay = await startBoth(lane);
      await expectCaptivePortalCheck((headers) => ask(relay.httpTarget(), '/generate_204', { headers }));
    });

    it('plain HTTP serves no DERP', async () => {
      const relay = await startBoth(lane);
      const wire = await Wire.open(relay.httpTarget());
      wire.write(upgradeRequest());
      expect((await wire.rest()).toString()).toMatch(/^HTTP\/1\.1 302 Found\r\n/);
      expect(relay.count('accepts')).toBe(0);
    });

    it('httpPort -1 opens no plain HTTP listener', async () => {
      const relay = await startBoth(lane, { httpPort: -1 });
      expect(relay.relay.address?.http).toBeUndefined();
    });
  });

  describe('malformed HTTP', () => {
    const GARBAGE: [name: string, bytes: string | Uint8Array][] = [
      ['binary', Buffer.from(Array.from({ length: 64 }, (_, index) => (index * 37) & 0xff)).toString('latin1')],
      ['zeros', Buffer.alloc(100)],
      ['a greeting of another protocol', 'SSH-2.0-OpenSSH_9.6\r\n\r\n'],
      ['an HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
      ['a request without a version', 'GET /derp\r\nUpgrade: DERP\r\n\r\n'],
      ['a request of another version', upgradeRequest({}, 'GET /derp HTTP/3.0')],
      ['a header without a name', 'GET /derp HTTP/1.1\r\n: x\r\nUpgrade: DERP\r\n\r\n'],
      ['a blank behind a name', 'GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade : DERP\r\n\r\n'],
      ['a folded line', 'GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade:\r\n DERP\r\n\r\n'],
      ['a proxy request', 'CONNECT derp.test:443 HTTP/1.1\r\nHost: derp.test\r\n\r\n'],
    ];

    it('a malformed request is refused or closed, and costs no other client', async () => {
      const relay = await startBoth(lane);
      const undisturbed = await bystanderPair(relay);
      const { host, port } = relay.target();
      for (const [name, bytes] of GARBAGE) {
        // Within TLS, on the TLS port without it, and on the plain one.
        for (const target of [relay.target(), { host, port }, relay.httpTarget()]) {
          const wire = await Wire.open(target);
          wire.write(bytes);
          if (!isHttp(name)) wire.end();
          const answer = (await wire.rest()).toString('latin1');
          if (target.tls || target.port !== port) expect(answer, name).toMatch(/^$|^HTTP\/1\.1 (4\d\d|302) /);
        }
      }
      await undisturbed();
      expect(relay.count('accepts')).toBe(2);
      expect(relay.disconnected).toEqual([]);
    });

    it.each([false, true])('a request with too long a head ends its connection; TLS %s', async (tls) => {
      const relay = await startRelay(lane, { tls });
      const undisturbed = await bystanderPair(relay);
      for (const head of [
        upgradeRequest({ 'X-Long': 'x'.repeat(17_000) }),
        `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`,
        `GET /derp HTTP/1.1\r\n${'X-Many: x\r\n'.repeat(4000)}Upgrade: DERP\r\n\r\n`,
        // Without an end.
        `GET /derp HTTP/1.1\r\nX: ${'x'.repeat(1_000_000)}`,
        'x'.repeat(1_000_000),
      ]) {
        const wire = await Wire.open(relay.target());
        wire.write(head);
        const answer = (await wire.rest()).toString('latin1');
        expect(answer).toMatch(/^$|^HTTP\/1\.1 4(00|31) /);
      }
      await undisturbed();
      expect(relay.count('accepts')).toBe(2);
    });

    it('a request may be as long as the bounds of a head allow', async () => {
      const relay = await startRelay(lane);
      const client = await DerpClient.dial(relay);
      const room = (16 << 10) - upgradeRequest({ 'Derp-Fast-Start': '1', 'X-Long': 'x' }).length;
      client.wire.write(upgradeRequest({ 'Derp-Fast-Start': '1', 'X-Long': 'x'.repeat(room) }), client.clientInfo);
      client.readFrames();
      await client.expect('ServerKey');
      await client.expect('ServerInfo');
    });
  });

  describe('slow HTTP clients', () => {
    const policy = { deadlines: { head: 300, handshake: 300 } };

    it.each([
      { transport: 'plain TCP', tls: false },
      { transport: 'TLS', tls: true },
    ])('a client that is slow in sending its head is closed at the deadline, over $transport', async ({ tls }) => {
      const relay = await startRelay(lane, { tls, policy });
      const undisturbed = await bystanderPair(relay);
      const start = performance.now();
      const silent = await Wire.open(relay.target());
      const half = await Wire.open(relay.target());
      half.write('GET /derp HTTP/1.1\r\nUpgr');
      const trickle = await Wire.open(relay.target());
      let sent = 0;
      await eventually(() => {
        trickle.write('GET /derp HTTP/1.1\r\nX-Slow: '[sent] ?? 'x');
        sent += 1;
        return trickle.isOver;
      }, 'the deadline');
      expect(performance.now() - start).toBeGreaterThan(295);
      for (const wire of [silent, half]) expect(await wire.rest()).toHaveLength(0);
      await undisturbed();
      expect(relay.count('accepts')).toBe(2);
    });

    it('a client that is slow in its handshake is closed at the deadline', async () => {
      const relay = await startRelay(lane, { tls: true, policy });
      const undisturbed = await bystanderPair(relay);
      const { host, port } = relay.target();
      const start = performance.now();
      const silent = await Wire.open({ host, port });
      const begun = await Wire.open({ host, port });
      // A record of 512 bytes with a ClientHello; the rest of it never comes.
      begun.write(Buffer.from('1603010200010001fc0303', 'hex'));
      for (const wire of [silent, begun]) expect(await wire.rest()).toHaveLength(0);
      expect(performance.now() - start).toBeGreaterThan(295);
      await undisturbed();
    });

    it('a client that only keeps its connection is not closed', async () => {
      const relay = await startRelay(lane, { policy });
      const wire = await Wire.open(relay.target());
      wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
      await wire.takeThrough('\r\n\r\n');
      const slow = await Wire.open(relay.target());
      await slow.ended();
      wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
      await wire.takeThrough('\r\n\r\n');
    });
  });

  it('HTTP connections are bounded, and DERP is not affected by the bound', async () => {
    const relay = await startRelay(lane, { policy: { limits: { duplexes: 2 } } });
    const request = 'GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n';
    const held = [await Wire.open(relay.target()), await Wire.open(relay.target())];
    for (const wire of held) {
      wire.write(request);
      await wire.takeThrough('\r\n\r\n');
    }
    // The first one is not the one that was idle for longest any more.
    held[0]?.write(request);
    await held[0]?.takeThrough('\r\n\r\n');
    // All of them may see /debug/, and so have the reserve.
    const others = await Promise.all([...Array(RESERVE)].map(() => Wire.open(relay.target())));
    for (const wire of others) {
      wire.write(request);
      await wire.takeThrough('\r\n\r\n');
    }
    expect(held.map((wire) => wire.isOver)).toEqual([false, false]);
    const late = await Wire.open(relay.target());
    late.write(request);
    await late.takeThrough('\r\n\r\n');
    await held[1]?.ended();
    expect([held[0], ...others].filter((wire) => wire?.isOver)).toEqual([]);
    await (await bystanderPair(relay))();
  });

  it('a client that was answered and never closes holds no connection', async () => {
    const relay = await startRelay(lane, { policy: { limits: { duplexes: 1 } } });
    const { host, port } = relay.target();
    const socket = connect({ host, port, allowHalfOpen: true });
    const wire = new Wire(socket);
    wire.write(upgradeRequest({ Upgrade: 'h2c' }));
    expect((await wire.rest()).toString()).toMatch(/^HTTP\/1\.1 426 /);
    await eventually(async () => {
      const next = await Wire.open(relay.target());
      next.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
      return (await next.takeThrough('\r\n').catch(() => undefined)) !== undefined;
    }, 'its place to be free');
    expect(socket.writable).toBe(true);
  });

  it('a client over TLS that was answered and never closes leaves nothing open', async () => {
    const relay = await startRelay(lane, { tls: true });
    const before = openSockets();
    const { host, port } = relay.target();
    const clients = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const socket = connect({ host, port, allowHalfOpen: true });
        onTestFinished(() => void socket.destroy());
        const secure = connectTls({ socket, rejectUnauthorized: false });
        secure.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
        secure.resume();
        await once(secure, 'end');
        return socket;
      }),
    );
    await eventually(() => openSockets() === before + clients.length, 'what is the relay’s to be closed');
  });

  it('the relay survives clients that disconnect at any point', async () => {
    const relay = await startRelay(lane);
    const undisturbed = await bystanderPair(relay);
    const before = openSockets();
    const request = 'POST /derp/probe HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345';
    for (let length = 0; length <= request.length; length += 9) {
      for (const how of ['reset', 'destroy'] as const) {
        const wire = await Wire.open(relay.target());
        wire.write(request.slice(0, length));
        await wire.flushed();
        await wire[how]();
      }
    }
    await undisturbed();
    await eventually(() => openSockets() === before, 'the sockets to be closed');
  });
});

async function expectCaptivePortalCheck(
  check: (headers: Record<string, string>) => ReturnType<typeof ask>,
): Promise<void> {
  const challenges: [challenge: string, answer: string | undefined][] = [
    ['ts_relay.test', 'response ts_relay.test'],
    ['A-z_0.9:x', 'response A-z_0.9:x'],
    ['x'.repeat(64), `response ${'x'.repeat(64)}`],
    ['x'.repeat(65), undefined],
    ['a b', undefined],
    ['a/b', undefined],
    ['', undefined],
  ];
  for (const [challenge, answer] of challenges) {
    const { status, headers, body } = await check({ 'X-Tailscale-Challenge': challenge });
    expect(status).toBe(204);
    expect(headers['cache-control']).toBe('no-cache, no-store, must-revalidate, no-transform, max-age=0');
    expect(headers['x-tailscale-response']).toBe(answer);
    expect(body).toBe('');
  }
  expect((await check({})).headers['x-tailscale-response']).toBeUndefined();
}

/** Whether a server may take it for a request, and so keep the connection open behind an answer. */
function isHttp(name: string): boolean {
  return name.includes('proxy');
}
