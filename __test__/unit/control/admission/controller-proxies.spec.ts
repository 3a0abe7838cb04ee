/** Admission controllers over TLS, and behind proxies of every kind. */
import { once } from 'node:events';
import { createServer as createProxy, type IncomingMessage, type Server } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { createSecureContext, type TLSSocket } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { addressOf, dialTunnel, proxyAuthorization } from '../../../../src/control/admission/tunnel.js';
import { join } from '../../../helpers/joined.js';
import { pemPair } from '../../../helpers/pem-pair.js';
import { SocksProxy } from '../../../helpers/socks-proxy.js';
import { ALLOW, silence } from '../../../helpers/verifier.js';
import { bound, controller, question, server } from './controllers.js';

const ALLOWED = { kind: 'allowed' };
const NAMES = ['verifier.test', '127.0.0.1', '192.0.2.7', 'fd00::7'];
const pair = pemPair(NAMES);
const trusting = { secureContext: createSecureContext({ ca: pair.chain }) };
const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

async function listening(made: Server): Promise<number> {
  onTestFinished(() => {
    made.closeAllConnections();
    made.close();
  });
  await once(made.listen(0, '127.0.0.1'), 'listening');
  return (made.address() as AddressInfo).port;
}

/** A server that speaks TLS and allows every client, and what came over it. */
async function secured() {
  const hellos: unknown[] = [];
  const requests: IncomingMessage[] = [];
  const made = createServer({ cert: pair.chain, key: pair.key, ALPNProtocols: ['http/1.1'] }, (request, response) => {
    requests.push(request);
    request.resume().on('end', () => response.end('{"Allow":true}'));
  });
  made.on('secureConnection', ({ servername, alpnProtocol }: TLSSocket & { servername?: unknown }) =>
    hellos.push([servername, alpnProtocol]),
  );
  return { made, port: await listening(made), hellos, requests };
}

/** Makes a server a proxy: everything that CONNECT asks for leads to the port. */
function tunnelling(made: Server, port: number): IncomingMessage[] {
  const asked: IncomingMessage[] = [];
  made.on('connect', (request: IncomingMessage, socket: Duplex) => {
    asked.push(request);
    const far = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      join(far, socket);
    });
    far.on('error', () => socket.destroy());
  });
  return asked;
}

describe('a controller over TLS', () => {
  it('a controller over TLS must be trusted, and keeps its connection', async () => {
    const { port, hellos } = await secured();
    const url = `https://127.0.0.1:${port}/verify`;
    const made = controller(url, trusting);
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(hellos).toHaveLength(1);
    const reason = expect.stringMatching(/^it cannot be asked: .*self-signed certificate/);
    expect(await controller(url).ask(question, bound())).toMatchObject({ unreached: true, reason });
  });
});

describe('a proxy that is sent the request itself', () => {
  it('a proxy gets the whole URL without user and fragment, and the users of both', async () => {
    const proxy = await server(ALLOW);
    const env = { HTTP_PROXY: `http://me:p%40ss@127.0.0.1:${proxy.port}` };
    const made = controller('http://user:pw@verifier.test/verify?x=1#y', { env });
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(proxy.connections).toBe(1);
    const [{ method, target, headers }] = proxy.asked as [(typeof proxy.asked)[0]];
    expect([method, target]).toEqual(['POST', 'http://verifier.test/verify?x=1']);
    expect(headers).toMatchObject({
      host: 'verifier.test',
      authorization: basic('user:pw'),
      'proxy-authorization': basic('me:p@ss'),
    });
  });

  it('a proxy over TLS must be trusted, and keeps its connection', async () => {
    const { port, requests, hellos } = await secured();
    const env = { HTTP_PROXY: `https://127.0.0.1:${port}` };
    const made = controller('http://verifier.test/verify', { ...trusting, env });
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(requests[0]?.url).toBe('http://verifier.test/verify');
    expect(requests[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(hellos).toHaveLength(1);
    const strict = controller('http://verifier.test/verify', { env });
    expect(await strict.ask(question, bound())).toMatchObject({ reason: expect.stringContaining('self-signed') });
  });

  it('a proxy that speaks SOCKS gets the connection alone', async () => {
    const verifier = await server(ALLOW);
    const socks = await SocksProxy.listen({ leadsTo: () => verifier.port, credentials: ['me', 'pw'] });
    onTestFinished(() => socks.close());
    const env = { HTTP_PROXY: `socks5://me:pw@127.0.0.1:${socks.port}` };
    const made = controller('http://verifier.test/verify?x=1', { ...trusting, env });
    for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
    expect(verifier.asked.map(({ target }) => target)).toEqual(['/verify?x=1', '/verify?x=1']);
    expect(verifier.asked[0]?.headers).not.toHaveProperty('proxy-authorization');
    expect(verifier.connections).toBe(1);
  });
});

describe('a proxy that tunnels', () => {
  it.each([
    ['a name', 'https://verifier.test/', 'verifier.test:443', 'verifier.test'],
    ['an IPv4 address', 'https://192.0.2.7:8443/', '192.0.2.7:8443', false],
    ['an IPv6 address', 'https://[fd00::7]/', '[fd00::7]:443', false],
  ])(
    'the server at the end of a tunnel is asked by %s, and is told names alone',
    async (_what, url, way, servername) => {
      const { port, hellos } = await secured();
      const proxy = createProxy();
      const asked = tunnelling(proxy, port);
      const env = { HTTPS_PROXY: `http://127.0.0.1:${await listening(proxy)}` };
      const made = controller(url, { ...trusting, env });
      for (let time = 0; time < 2; time++) expect(await made.ask(question, bound())).toEqual(ALLOWED);
      expect(asked.map((request) => [request.method, request.url, request.headers.host])).toEqual([
        ['CONNECT', way, way],
      ]);
      expect(asked[0]?.headers).not.toHaveProperty('proxy-authorization');
      expect(hellos).toEqual([[servername, 'http/1.1']]);
    },
  );

  it('a proxy over TLS that tunnels is trusted as the controller is', async () => {
    const { port } = await secured();
    const { made: proxy, port: at } = await secured();
    const asked = tunnelling(proxy, port);
    const env = { HTTPS_PROXY: `https://me@127.0.0.1:${at}` };
    expect(await controller('https://verifier.test/', { ...trusting, env }).ask(question, bound())).toEqual(ALLOWED);
    expect(asked.map(({ headers }) => headers['proxy-authorization'])).toEqual([basic('me:')]);
    const reason = expect.stringMatching(/^it cannot be asked: .*self-signed certificate/);
    expect(await controller('https://verifier.test/', { env }).ask(question, bound())).toMatchObject({ reason });
    expect(asked).toHaveLength(1);
  });

  it('a proxy that is silent is given up', async () => {
    const { port } = await server(silence);
    const target = { host: 'verifier.test', port: 443 };
    await expect(dialTunnel(new URL(`http://127.0.0.1:${port}`), target, undefined, 50)).rejects.toThrow(
      /^the proxy does not answer$/,
    );
  });

  it('a proxy that does not listen is reported', async () => {
    const gone = await server(ALLOW);
    const env = { HTTPS_PROXY: `http://127.0.0.1:${gone.port}` };
    await gone.close();
    expect(await controller('https://verifier.test/', { env }).ask(question, bound())).toEqual({
      ...{ kind: 'failed', unreached: true, timeout: false },
      reason: 'it cannot be asked: connection refused',
    });
  });
});

it.each([
  ['http://proxy.test', 'proxy.test', 80],
  ['https://proxy.test', 'proxy.test', 443],
  ['http://[::1]:3128', '::1', 3128],
])('a proxy is looked for where its URL says: %s', (url, host, port) => {
  expect(addressOf(new URL(url))).toEqual({ host, port });
});

it.each([
  ['http://proxy.test', undefined],
  ['http://me@proxy.test', basic('me:')],
  ['http://:pw@proxy.test', basic(':pw')],
  ['http://m%C3%A9:p%40@proxy.test', basic('mé:p@')],
])('a proxy gets the user of its URL: %s', (url, sent) => {
  expect(proxyAuthorization(new URL(url))['Proxy-Authorization']).toBe(sent);
});
