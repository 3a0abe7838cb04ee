/** An admission controller behind a proxy that speaks SOCKS 5. */
import { once } from 'node:events';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Controller } from '../../../../src/control/admission/controller.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';
import { pemPair } from '../../../helpers/pem-pair.js';
import { type SocksOptions, SocksProxy } from '../../../helpers/socks-proxy.js';
import { ALLOW, TestVerifier } from '../../../helpers/verifier.js';

const question = { key: generateKeyPair().publicKey, address: '192.0.2.1' };
const pair = pemPair(['verifier.test']);

async function proxy(options: Partial<SocksOptions> = {}): Promise<SocksProxy> {
  const verifier = await TestVerifier.listen(ALLOW);
  const socks = await SocksProxy.listen({ leadsTo: () => verifier.port, ...options });
  onTestFinished(async () => {
    await socks.close();
    await verifier.close();
  });
  return socks;
}

/** Asks twice, and returns both results. */
async function ask(url: string, variable: string, env: string) {
  const secureContext = createSecureContext({ ca: pair.chain });
  const controller = new Controller({
    url: new URL(url),
    headers: () => ({}),
    secureContext,
    env: { [variable]: env },
  });
  const { signal } = new AbortController();
  const answers = [await controller.ask(question, signal), await controller.ask(question, signal)];
  controller.close();
  return answers.map((answer) => (answer.kind === 'failed' ? answer.reason : answer.kind));
}

function through(socks: SocksProxy, url: string, user = ''): Promise<string[]> {
  return ask(url, 'HTTP_PROXY', `socks5://${user}127.0.0.1:${socks.port}`);
}

describe('a controller behind a proxy of SOCKS', () => {
  it.each([
    ['a name, which the proxy resolves,', 'http://verifier.test/verify', 'verifier.test:80'],
    ['an IPv4 address', 'http://192.0.2.7:8080/verify', '192.0.2.7:8080'],
    ['an IPv6 address', 'http://[2001:db8::7]/verify', '[2001:0db8:0000:0000:0000:0000:0000:0007]:80'],
  ])('a controller behind SOCKS is asked by %s over one connection, which stays open', async (_what, url, target) => {
    for (const bound of [1, 3, 4] as const) {
      const socks = await proxy({ bound });
      expect(await through(socks, url)).toEqual(['allowed', 'allowed']);
      expect([socks.targets, socks.methods]).toEqual([[target], [[0]]]);
    }
  });

  it('a SOCKS proxy gets the user and the password of the variable', async () => {
    const socks = await proxy({ credentials: ['me', 'p@ss'] });
    expect(await through(socks, 'http://verifier.test/', 'me:p%40ss@')).toEqual(['allowed', 'allowed']);
    expect(socks.methods).toEqual([[0, 2]]);
    const wrong = 'it cannot be asked: the proxy refuses the user or the password';
    expect(await through(socks, 'http://verifier.test/', 'me:other@')).toEqual([wrong, wrong]);
    const missing = 'it cannot be asked: the proxy wants another user, or another way to log in';
    expect(await through(socks, 'http://verifier.test/')).toEqual([missing, missing]);
  });

  it('a SOCKS proxy may ask for no password, even if the variable has one', async () => {
    const socks = await proxy();
    expect(await through(socks, 'http://verifier.test/', 'me:secret@')).toEqual(['allowed', 'allowed']);
  });

  it('a controller behind SOCKS is asked over TLS, and must have a certificate for its name', async () => {
    const server = createServer({ cert: pair.chain, key: pair.key }, (request, response) => {
      request.resume().on('end', () => response.end('{"Allow":true}'));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const socks = await proxy({ leadsTo: () => (server.address() as AddressInfo).port });
    const variable = `socks5h://127.0.0.1:${socks.port}`;
    expect(await ask('https://verifier.test/verify', 'HTTPS_PROXY', variable)).toEqual(['allowed', 'allowed']);
    expect(socks.targets).toEqual(['verifier.test:443']);
    const [other] = await ask('https://other.test/verify', 'HTTPS_PROXY', variable);
    expect(other).toMatch(/^it cannot be asked: .*other\.test/);
  });

  it('a SOCKS proxy that refuses is reported with its reason', async () => {
    const refusal = await proxy({ refusal: 5 });
    const [refused] = await through(refusal, 'http://verifier.test/');
    expect(refused).toBe('it cannot be asked: the proxy refuses the connection: the connection is refused');
    const strange = await proxy({ refusal: 77 });
    expect((await through(strange, 'http://verifier.test/'))[0]).toMatch(/: reply 77$/);
  });

  it.each([
    ['closes', '', 'the proxy closes the connection'],
    ['closes within its answer', '\x05\x00\x05\x00', 'the proxy closes the connection'],
    ['speaks HTTP', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'what answers there is no proxy that speaks SOCKS 5'],
  ])('a controller is unreachable through a server that %s', async (_what, bytes, reason) => {
    const server = createTcpServer((socket) => {
      socket.on('error', () => {});
      socket.once('data', () => socket.end(Buffer.from(bytes, 'latin1')));
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const [failure] = await ask('http://verifier.test/', 'HTTP_PROXY', `socks5://127.0.0.1:${port}`);
    expect(failure).toBe(`it cannot be asked: ${reason}`);
  });
});
