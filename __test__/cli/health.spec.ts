/** `derpkit health`: what an orchestrator learns of a relay. */

import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../src/bench/ports.js';
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

  it.each(['relay.example.com', 'ftp://relay', ''])('a relay is unhealthy if %j is not a URL of one', async (url) => {
    const { code, stderr } = await health(url);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `derpkit health: ${url}: the URL must begin with http:// or https://\n`,
    });
  });
});
