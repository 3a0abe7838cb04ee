/** An admission controller over TLS, through a proxy. */
import { once } from 'node:events';
import { createServer as createProxy, type Server } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { createSecureContext } from 'node:tls';
import { afterEach, describe, expect, it } from 'vitest';
import { Controller } from '../../../../src/control/admission/controller.js';
import { generateKeyPair } from '../../../../src/protocol/key.js';
import { join } from '../../../helpers/joined.js';
import { pemPair } from '../../../helpers/pem-pair.js';

const servers: { close(): unknown; closeAllConnections(): void }[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function listening<T extends Server>(server: T): Promise<number> {
  servers.push(server);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

const pair = pemPair(['verifier.test']);
const question = { key: generateKeyPair().publicKey, address: '192.0.2.1' };

/** Asks twice, through a proxy that answers the way to the controller with `status`. */
async function askThrough(status: number, trusted: string) {
  const bodies: string[] = [];
  const controller = createServer({ cert: pair.chain, key: pair.key }, (request, response) => {
    request.setEncoding('utf8').on('data', (text: string) => bodies.push(text));
    request.on('end', () => response.end('{"Allow":true}'));
  });
  const port = await listening(controller);
  const ways: (string | undefined)[] = [];
  const proxy = createProxy();
  proxy.on('connect', (request, socket) => {
    ways.push(request.url, request.headers['proxy-authorization']);
    socket.on('error', () => {});
    if (status !== 200) {
      socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      return;
    }
    const far = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      join(far, socket);
    });
    far.on('error', () => socket.destroy());
  });
  const asked = new Controller({
    url: new URL('https://verifier.test/verify'),
    headers: () => ({}),
    secureContext: createSecureContext({ ca: trusted }),
    env: { HTTPS_PROXY: `http://user:p%40ss@127.0.0.1:${await listening(proxy)}` },
  });
  const signal = new AbortController().signal;
  const answers = [await asked.ask(question, signal), await asked.ask(question, signal)];
  asked.close();
  return { answers, ways, bodies };
}

describe('a controller over TLS behind a proxy', () => {
  it('the controller is asked through a tunnel, which stays open', async () => {
    const { answers, ways, bodies } = await askThrough(200, pair.chain);
    expect(answers).toEqual([{ kind: 'allowed' }, { kind: 'allowed' }]);
    expect(ways).toEqual(['verifier.test:443', `Basic ${Buffer.from('user:p@ss').toString('base64')}`]);
    expect(bodies).toHaveLength(2);
  });

  it('the controller behind a proxy must be trusted', async () => {
    const { answers, bodies } = await askThrough(200, pemPair(['verifier.test']).chain);
    expect(answers[0]).toMatchObject({ kind: 'failed', unreached: true });
    expect(bodies).toEqual([]);
  });

  it('the controller is unreachable if the proxy refuses', async () => {
    const { answers } = await askThrough(407, pair.chain);
    expect(answers[0]).toEqual({
      kind: 'failed',
      unreached: true,
      timeout: false,
      reason: 'it cannot be asked: the proxy answers 407 No',
    });
  });
});
