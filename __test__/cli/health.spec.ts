/** `derpkit health`: what an orchestrator learns of a relay. */

import { writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
import { pemPair } from '../helpers/relay.js';
import { run, start, temporary } from './commands.js';
import { keyOf, portOf } from './reach.js';

const health = (url: string) => run('derpkit', ['health', '--url', url]);

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  return (server.address() as AddressInfo).port;
}

describe('a healthy relay', () => {
  it.each(['self-signed', 'off'])(
    'a relay that sends its greeting is healthy, with the certificate mode %s',
    async (mode) => {
      const args = [
        '--data-dir',
        temporary(),
        '--listen=127.0.0.1:0',
        '--http-port=-1',
        '--no-stun',
        '--cert-mode',
        mode,
      ];
      const relay = start('derpkit', ['serve', ...args]);
      const port = await portOf(relay, mode === 'off' ? 'DERP over plain HTTP' : 'DERP over TLS');
      const url = `${mode === 'off' ? 'http' : 'https'}://localhost:${port}`;
      expect(await health(url)).toMatchObject({
        code: 0,
        stdout: `${url} answers DERP: ${(await keyOf(relay)).toString()}\n`,
        stderr: '',
      });
    },
  );
});

describe('the address for the health check', () => {
  it.each([
    ['DERPKIT_CERT_MODE', 'off', 'http'],
    ['DERPKIT_HOSTNAME', 'relay.example.com', 'https'],
  ])('the health check reads the relay’s variables, as by %s=%s', async (name, value, scheme) => {
    const port = await freePort();
    const env = { DERPKIT_LISTEN: `:${port}`, DERPKIT_HTTP_PORT: '-1', DERPKIT_STUN: 'false', [name]: value };
    const relay = start('derpkit', ['serve', '--data-dir', temporary()], { env });
    await relay.printed(/serving DERP/);
    const { code, stdout } = await run('derpkit', ['health'], { env });
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: `${scheme}://127.0.0.1:${port} answers DERP: ${await keyOf(relay)}\n`,
    });
    await relay.stop();
    expect((await run('derpkit', ['health'], { env })).code).toBe(1);
  });

  it('the health check ignores variables that no relay would accept', async () => {
    const { code, stderr } = await run('derpkit', ['health'], { env: { DERPKIT_LISTEN: 'nowhere' } });
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/^derpkit: DERPKIT_LISTEN: /) });
  });
});

describe('an unhealthy relay', () => {
  it('a relay is unhealthy if nothing listens', async () => {
    const url = `https://127.0.0.1:${await freePort()}`;
    expect(await health(url)).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `derpkit health: ${url}: connection refused\n`,
    });
  });

  it('a relay is unhealthy if a web server answers instead', async () => {
    const url = `http://127.0.0.1:${await listening(createHttpServer((_, response) => response.end('hello')))}`;
    const { code, stderr } = await health(url);
    expect({ code, stderr }).toEqual({ code: 1, stderr: `derpkit health: ${url}: it answers "HTTP/1.1 200 OK"\n` });
  });

  it('a relay is unhealthy if it accepts and sends nothing', async () => {
    const url = `http://127.0.0.1:${await listening(createServer())}`;
    const { code, stderr } = await health(url);
    expect({ code, stderr }).toEqual({ code: 1, stderr: `derpkit health: ${url}: no answer within 4 s\n` });
  });

  it('a relay is unhealthy if it closes without a greeting', async () => {
    const url = `http://127.0.0.1:${await listening(createServer((socket) => socket.end()))}`;
    const { code, stderr } = await health(url);
    expect(code).toBe(1);
    expect(stderr).toMatch(/the relay closed the connection before it sent its key|connection reset by peer/);
  });

  it('a relay that has no certificate for an address, or speaks TLS or none, says what to ask', async () => {
    const directory = temporary();
    const pair = pemPair(['derp.test']);
    for (const [end, text] of Object.entries({ crt: pair.chain, key: pair.key })) {
      writeFileSync(join(directory, `derp.test.${end}`), text);
    }
    const files = ['--key-file', join(directory, 'key'), '--cert-mode=manual', '--cert-dir', directory];
    const args = [...files, '--hostname=derp.test', '--listen=127.0.0.1:0', '--http-port=0', '--no-stun'];
    const relay = start('derpkit', ['serve', ...args]);
    const [tls, plain] = [await portOf(relay, 'DERP over TLS'), await portOf(relay, 'HTTP')];
    const named = /; give a name of its certificate with --name <host>\n$/;
    for (const [url, advice] of [
      [`https://127.0.0.1:${tls}`, /the relay has no certificate for clients that name an address; /],
      [`https://localhost:${tls}`, /the relay has no certificate for localhost; /],
      [`https://127.0.0.1:${tls}`, named],
      [`https://localhost:${plain}`, /: it does not speak TLS; try http:\/\/\n$/],
      [`http://localhost:${tls}`, /it answers "HTTP\/1\.0 400 Bad Request"; if it speaks TLS there, try https:\/\/\n$/],
      [`http://localhost:${plain}`, /it answers "HTTP\/1\.1 302 Found"; if it speaks TLS there, try https:\/\/\n$/],
    ] as const) {
      const { code, stdout, stderr } = await health(url);
      expect({ code, stdout }, url).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(advice);
      expect(stderr.match(/\n/g)).toHaveLength(1);
    }
    const env = { DERPKIT_LISTEN: `127.0.0.1:${tls}` };
    const wrong = await run('derpkit', ['health'], { env });
    expect(wrong.stderr).toMatch(
      /no certificate for localhost; DERPKIT_HOSTNAME \(in a settings file, hostname\) has to be a name of its certificate; --name gives another one\n$/,
    );
    expect(await run('derpkit', ['health'], { env: { ...env, DERPKIT_HOSTNAME: 'derp.test' } })).toMatchObject({
      code: 0,
    });
  });

  it('without a relay, a health check without a URL says how to name one', async () => {
    const { code, stderr } = await run('derpkit', ['health'], { env: { DERPKIT_LISTEN: `:${await freePort()}` } });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /connection refused: nothing listens there; say with --url where .*--config <file>, .*DERPKIT_LISTEN\n$/,
    );
  });

  it.each(['relay.example.com', 'ftp://relay', ''])('a relay is unhealthy if %j is not a URL of one', async (url) => {
    const { code, stderr } = await health(url);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `derpkit health: ${url}: the URL must begin with http:// or https://\n`,
    });
  });
});
