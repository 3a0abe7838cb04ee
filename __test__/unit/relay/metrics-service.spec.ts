/** The metrics listener of a real relay: its pages, its token, its bounds, and how it fails. */
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { MetricsConfig } from '../../../src/config/relay-config.js';
import { ConfigError, ListenError } from '../../../src/errors.js';
import { SCRAPERS } from '../../../src/http/visitors.js';
import { upgradeRequest } from '../../helpers/client.js';
import { type Answer, ask } from '../../helpers/http.js';
import { laneNamed } from '../../helpers/lanes.js';
import { newRelay, startRelay, type TestRelay, type TestRelayOptions } from '../../helpers/relay.js';
import { eventually } from '../../helpers/wait.js';
import { Wire } from '../../helpers/wire.js';
import { temporaryDirectory } from '../temp.js';

const JS = laneNamed('js');
const DIRECTORY = temporaryDirectory();
const OPEN = 'application/openmetrics-text; version=1.0.0; charset=utf-8';
const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

function start(metrics: MetricsConfig = {}, { config, ...more }: TestRelayOptions = {}): Promise<TestRelay> {
  return startRelay(JS, { config: { metrics: { listen: 0, ...metrics }, ...config }, ...more });
}

function get(relay: TestRelay, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return ask(relay.metricsTarget(), path, { headers, method });
}

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });

/** Lines by the name of their metric, with the comments about it. */
function blocks(text: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let current: string[] = [];
  for (const line of text.trimEnd().split('\n')) {
    const [, name] = /^# TYPE (\S+) /.exec(line) ?? [];
    if (name !== undefined) {
      expect(found.has(name), name).toBe(false);
      current = [];
      found.set(name, current);
    }
    current.push(line);
  }
  return found;
}

describe('/metrics', () => {
  it('every metric has a type, a help and its samples behind both', async () => {
    const relay = await start({}, { tls: true });
    const { headers, body } = await get(relay, '/metrics');
    expect(headers).toMatchObject({ 'content-type': TEXT, 'cache-control': 'no-store' });
    const all = blocks(body);
    expect(all.size).toBeGreaterThan(70);
    for (const [name, [, help, ...samples]] of all) {
      expect(help).toMatch(new RegExp(`^# HELP ${name} [A-Z].*\\.$|^# HELP derp_(packets|bytes)_dropped `));
      for (const sample of samples)
        expect(sample).toMatch(new RegExp(`^${name}(_bucket|_sum|_count)?(\\{.*\\})? [\\d.e+-]+$`));
    }
    expect(all.get('derpkit_build_info')?.at(-1)).toMatch(/^derpkit_build_info\{version="\d.*",plane="js"\} 1$/);
  });

  it('OpenMetrics names counters without their ending, ends with a mark, and spells bounds as it wants them', async () => {
    const relay = await start();
    const { headers, body } = await get(relay, '/metrics', { Accept: 'application/openmetrics-text' });
    expect(headers['content-type']).toBe(OPEN);
    expect(body).toMatch(/\n# EOF\n$/);
    const all = blocks(body.replace(/# EOF\n$/, ''));
    for (const [name, [type = '', , ...samples]] of all) {
      const kind = type.split(' ').at(-1);
      expect(kind).toMatch(/^(counter|gauge|histogram|info|unknown)$/);
      const ending = { counter: '_total', info: '_info' }[kind as string] ?? '';
      if (kind === 'histogram') continue;
      for (const sample of samples) expect(sample.split(/[{ ]/, 1)[0]).toBe(name + ending);
    }
    expect(all.get('derpkit_build')).toHaveLength(3);
    expect(all.get('derpkit_faults')?.slice(2)).toEqual(['derpkit_faults_total 0']);
    expect(all.get('derp_accepts')?.[0]).toBe('# TYPE derp_accepts unknown');
    expect(all.get('derp_buffered_write_frames')?.[2]).toBe('derp_buffered_write_frames_bucket{le="0.0"} 0');
  });

  it.each([
    [undefined, TEXT],
    ['*/*', TEXT],
    ['text/plain', TEXT],
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;q=0.5',
      OPEN,
    ],
    ['text/plain;version=0.0.4;q=0.9, application/openmetrics-text;q=0.4', TEXT],
    ['application/openmetrics-text;q=0', TEXT],
    ['application/openmetrics-text;q=x', TEXT],
  ])('the form is chosen by what the scraper accepts: %s', async (accept, contentType) => {
    const relay = await start();
    const { headers } = await get(relay, '/metrics', accept === undefined ? {} : { Accept: accept });
    expect(headers['content-type']).toBe(contentType);
  });

  it('the metrics are those of /debug/varz, and whether the relay is ready', async () => {
    const relay = await start();
    const names = ({ body }: Answer) => new Set(body.match(/^[a-z]\w*/gm));
    const here = names(await get(relay, '/metrics'));
    expect(here.delete('derpkit_ready')).toBe(true);
    expect(here).toEqual(names(await ask(relay.target(), '/debug/varz')));
    expect((await ask(relay.target(), '/debug/varz')).body).not.toContain('# HELP derp_accepts');
  });

  it('a failure of the metrics ends the connection of the request alone, and is counted', async () => {
    const relay = await start();
    const figures = vi.spyOn(relay.dataPlane.counters, 'readAll').mockImplementation(() => {
      throw new Error('no figures');
    });
    await expect(get(relay, '/metrics')).rejects.toThrow();
    figures.mockRestore();
    expect((await get(relay, '/metrics')).body).toMatch(/^derpkit_faults_total 1$/m);
  });
});

describe('requests', () => {
  it.each(['/metrics', '/healthz', '/readyz'])('a HEAD of %s has the headers alone', async (path) => {
    const relay = await start();
    await eventually(async () => (await get(relay, '/readyz')).status === 200, 'the relay to be ready');
    const [head, full] = [await get(relay, path, {}, 'HEAD'), await get(relay, path)];
    expect(head).toMatchObject({ status: 200, body: '' });
    expect(head.headers['content-type']).toBe(full.headers['content-type']);
    expect(Number(head.headers['content-length'])).toBeGreaterThan(0);
  });

  it.each([
    ['POST', '/metrics', 405],
    ['DELETE', '/healthz', 405],
    ['PUT', '/readyz', 405],
    ['GET', '/', 404],
    ['GET', '/metrics/', 404],
    ['GET', '//metrics', 404],
    ['POST', '/nothing', 404],
    ['GET', '/debug/varz', 404],
    ['GET', '/derp', 404],
    ['GET', '/%zz', 400],
  ])('%s %s is answered with %i', async (method, path, status) => {
    const relay = await start();
    const answer = await get(relay, path, {}, method);
    expect(answer.status).toBe(status);
    expect(answer.headers.allow).toBe(status === 405 ? 'GET, HEAD' : undefined);
  });

  it('an upgrade to DERP is none here', async () => {
    const relay = await start();
    const wire = await Wire.open(relay.metricsTarget());
    wire.write(upgradeRequest());
    expect((await wire.takeThrough('\r\n\r\n')).toString()).toMatch(/^HTTP\/1.1 404 /);
    expect(relay.count('accepts')).toBe(0);
  });

  it('requests that are none are counted like those of other listeners', async () => {
    const relay = await start();
    const wire = await Wire.open(relay.metricsTarget());
    wire.write('nonsense\r\n\r\n');
    expect((await wire.takeThrough('\r\n\r\n')).toString()).toMatch(/^HTTP\/1.1 400 /);
    expect((await get(relay, '/metrics')).body).toMatch(/^derpkit_requests_failed_total\{reason="bad_request"\} 1$/m);
  });

  it('beyond the bound, the connection that was idle for longest makes room for a newcomer', async () => {
    const relay = await start();
    const wires = [];
    for (let count = 0; count < SCRAPERS; count++) {
      const wire = await Wire.open(relay.metricsTarget());
      wire.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
      await wire.takeThrough('alive\n');
      wires.push(wire);
    }
    expect((await get(relay, '/metrics')).body).toMatch(/^derpkit_strangers_evicted_total\{full="pool"\} 1$/m);
    await wires[0]?.ended();
    wires[1]?.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await wires[1]?.takeThrough('alive\n');
  });

  it.each([
    ['127.0.0.1:1', 200],
    ['localhost', 200],
    ['relay.test', 200],
    ['more.test:9090', 200],
    ['evil.test', 403],
  ])('a request from this machine for the host %s is answered with %i', async (Host, status) => {
    const relay = await start({}, { config: { hostname: 'relay.test', debugHosts: 'more.test' } });
    expect((await get(relay, '/metrics', { Host })).status).toBe(status);
  });
});

describe('the token', () => {
  let files = 0;
  const token = 'c2VjcmV0-._~+/==';

  function tokenFile(text: string): string {
    files += 1;
    const path = join(DIRECTORY, `token-${files}`);
    writeFileSync(path, text);
    return path;
  }

  it('the metrics need the token of the file, and health checks need none', async () => {
    const relay = await start({ tokenFile: tokenFile(`${token}\n`) });
    const { status, headers } = await get(relay, '/metrics');
    expect({ status, header: headers['www-authenticate'] }).toEqual({ status: 401, header: 'Bearer realm="metrics"' });
    for (const wrong of [
      bearer(`${token}x`),
      bearer(''),
      { Authorization: `Basic ${token}` },
      { Authorization: token },
    ]) {
      expect((await get(relay, '/metrics', wrong)).status).toBe(401);
    }
    expect((await get(relay, '/metrics', bearer(token))).status).toBe(200);
    expect((await get(relay, '/metrics', { Authorization: `bearer  ${token} `, Host: 'evil.test' })).status).toBe(200);
    expect((await get(relay, '/healthz')).status).toBe(200);
    await eventually(async () => (await get(relay, '/readyz')).status === 200, 'the relay to be ready');
  });

  it('reasons why the relay is not ready need the token', async () => {
    const times = { interval: 60_000, patience: -1 };
    const relay = await start({ tokenFile: tokenFile(token) }, { dataPathTimes: times });
    expect(await get(relay, '/readyz')).toMatchObject({ status: 503, body: 'not ready\n' });
    const { body } = await get(relay, '/readyz', bearer(token));
    expect(body).toMatch(/^not ready:\nno packet has passed through the data plane /);
  });

  it('another token is in force after a reload, and after the file has changed', async () => {
    const path = tokenFile('first');
    const relay = await start({ tokenFile: path });
    const works = async (text: string) => (await get(relay, '/metrics', bearer(text))).status === 200;
    expect(relay.relay.reloads).toBe(true);
    writeFileSync(path, 'second');
    await relay.relay.reload();
    expect([await works('first'), await works('second')]).toEqual([false, true]);
    // A file that cannot be used leaves the last token in force.
    writeFileSync(path, '');
    await expect(relay.relay.reload()).rejects.toThrow(`metrics.tokenFile: ${path}: the file is empty`);
    expect(await works('second')).toBe(true);
    writeFileSync(path, 'third');
    await eventually(() => works('third'), 'the relay to see the change');
  });

  it.each([
    [undefined, 'no such file or directory'],
    ['  \n', 'the file is empty'],
    ['two words', 'the file is not one token'],
    ['Bearer: x', 'the file is not one token'],
  ])('a relay does not start with a file of %s', async (text, message) => {
    const path = tokenFile(text ?? '');
    if (text === undefined) rmSync(path);
    const relay = newRelay(JS, { config: { metrics: { listen: 0, tokenFile: path } } });
    const error = await relay.relay.start().catch((reason) => reason);
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).problems).toEqual([
      { path: 'metrics.tokenFile', message: expect.stringContaining(`${path}: ${message}`) },
    ]);
  });
});

describe('the start', () => {
  it('a port that is taken ends the start, and names the setting', async () => {
    const { port } = (await start()).metricsTarget();
    const relay = newRelay(JS, { config: { metrics: { listen: port } } });
    const error = await relay.relay.start().catch((reason) => reason);
    expect(error).toBeInstanceOf(ListenError);
    expect(error).toMatchObject({ setting: 'metrics.listen', cause: { code: 'EADDRINUSE' } });
    expect((error as Error).message).toBe(`cannot listen on 127.0.0.1:${port} (metrics)`);
  });

  it('another setting of the listener takes a restart', async () => {
    const relay = await start();
    const changed = { ...relay.config, metrics: { listen: '127.0.0.1:1' } };
    expect(await relay.relay.reload(changed)).toEqual({ applied: [], needRestart: ['metrics.listen'] });
  });
});
