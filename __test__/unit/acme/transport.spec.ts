/** HTTPS to a certificate authority that is another one, that sends too much, or nothing, or nonsense. */
import { generateKeyPairSync } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { AcmeClient } from '../../../src/acme/client.js';
import { Transport } from '../../../src/acme/transport.js';
import { pemPair } from '../../helpers/relay.js';

const { chain, key } = pemPair(['localhost', '127.0.0.1']);
const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const never = new AbortController().signal;
const { NODE_TLS_REJECT_UNAUTHORIZED } = process.env;

afterEach(() => {
  if (NODE_TLS_REJECT_UNAUTHORIZED === undefined) delete process.env.NODE_TLS_REJECT_UNAUTHORIZED;
  else process.env.NODE_TLS_REJECT_UNAUTHORIZED = NODE_TLS_REJECT_UNAUTHORIZED;
});

async function serve(answer: RequestListener): Promise<string> {
  const server: Server = createServer({ cert: chain, key }, answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function transport(roots: readonly string[] = [chain], timeout = 5000): Transport {
  const made = new Transport(roots, 'test', timeout);
  onTestFinished(() => made.close());
  return made;
}

describe('transport to a CA', () => {
  it('the transport refuses an untrusted certificate, whatever the environment says', async () => {
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0';
    const url = await serve((_request, response) => response.end('{}'));
    const stranger = pemPair(['localhost']).chain;
    await expect(transport([stranger]).send('GET', url, undefined, never)).rejects.toThrow('cannot be reached');
    expect((await transport().send('GET', url, undefined, never)).body).toBe('{}');
  });

  it.each(['http://127.0.0.1/', 'nonsense', 'file:///etc/passwd'])(
    'the transport speaks only HTTPS: %s',
    async (url) => {
      await expect(transport().send('GET', url, undefined, never)).rejects.toThrow('no https:// URL');
    },
  );

  it('the transport ends at an answer that is too long', async () => {
    const url = await serve((_request, response) => {
      const more = () => {
        while (response.write(Buffer.alloc(65536))) {}
        response.once('drain', more);
      };
      more();
    });
    await expect(transport().send('GET', url, undefined, never)).rejects.toThrow('its answer is too long');
  });

  it.each<[string, RequestListener]>([
    ['nothing', () => undefined],
    ['half an answer', (_request, response) => response.writeHead(200, { 'Content-Length': 10 }).write('x')],
  ])('the transport times out if the CA sends %s', async (_what, answer) => {
    const url = await serve(answer);
    await expect(transport([chain], 100).send('GET', url, undefined, never)).rejects.toThrow('no answer in time');
  });

  it('the transport ends with the relay', async () => {
    const url = await serve(() => undefined);
    const stop = new AbortController();
    const sent = transport().send('GET', url, undefined, stop.signal);
    stop.abort();
    await expect(sent).rejects.toThrow('cannot be reached');
  });
});

describe('an ACME account', () => {
  /** A CA that takes the third nonce of each request. */
  function forgetful(taken: { posts: number }): RequestListener {
    return (request, response) => {
      const base = `https://${request.headers.host}`;
      response.setHeader('Replay-Nonce', 'nonce');
      if (request.url === '/dir') {
        response.end(
          JSON.stringify({ newNonce: `${base}/nonce`, newAccount: `${base}/account`, newOrder: `${base}/o` }),
        );
      } else if (request.method === 'POST') {
        taken.posts += 1;
        if (taken.posts < 3) {
          response.writeHead(400).end(JSON.stringify({ type: 'urn:ietf:params:acme:error:badNonce', detail: 'no' }));
        } else {
          response.writeHead(201, { Location: `${base}/me` }).end('{}');
        }
      } else {
        response.end();
      }
    };
  }

  it('a request is repeated with a new nonce if the CA refuses one', async () => {
    const taken = { posts: 0 };
    const url = await serve(forgetful(taken));
    await new AcmeClient({ directory: `${url}/dir`, key: privateKey }, transport(), never).register();
    expect(taken.posts).toBe(3);
  });

  it('a request is not repeated forever', async () => {
    const taken = { posts: Number.NEGATIVE_INFINITY };
    let posts = 0;
    const answer = forgetful(taken);
    const url = await serve((request, response) => {
      if (request.method === 'POST') posts += 1;
      answer(request, response);
    });
    const client = new AcmeClient({ directory: `${url}/dir`, key: privateKey }, transport(), never);
    await expect(client.register()).rejects.toThrow('registering the account: no');
    expect(posts).toBe(10);
  });

  it.each<[string, string, RegExp]>([
    ['no directory', '{}', /is not an ACME directory: it has no newAccount/],
    ['a page', '<html>', /the answer is not a JSON object/],
    ['a list', '[1]', /is not an ACME directory/],
  ])('an account is refused for %s', async (_what, body, message) => {
    const url = await serve((_request, response) => response.end(body));
    const client = new AcmeClient({ directory: url, key: privateKey }, transport(), never);
    await expect(client.register()).rejects.toThrow(message);
  });
});
