/** The image, built of packages in a registry and run as operators run it. */

import { spawnSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { buildBases, imageToolsMissing } from '../../packaging/image/bases.mjs';
import { whyNoGo } from '../../packaging/peers.mjs';
import { freePort } from '../../src/bench/ports.js';
import { portOf } from '../cli/reach.js';
import { makeWorkspace, run, SERVER_NAME, type Workspace } from '../interop/scenarios.js';
import { Container, Image } from './oci.js';
import { openRegistry } from './registry.js';

const LONG = process.env.DERPKIT_LONG === '1';
const missing = LONG ? (imageToolsMissing() ?? whyNoGo()) : 'npm run test:long builds and runs it';
if (missing) console.warn(`left out: the image: ${missing}`);

describe.skipIf(missing)('the image', () => {
  let image: Image;
  let workspace: Workspace;

  beforeAll(async () => {
    const registry = await openRegistry();
    try {
      const { version } = manifest;
      const args = { PACKAGE: `derpkit@${version}`, VERSION: version, NPM_CONFIG_REGISTRY: registry.url };
      image = await Image.build(await buildBases(), args);
    } finally {
      registry.close();
    }
    workspace = await makeWorkspace(SERVER_NAME);
    chmodSync(workspace.directory, 0o755);
    for (const name of ['crt', 'key']) chmodSync(join(workspace.directory, `${SERVER_NAME}.${name}`), 0o644);
  }, 600_000);

  afterAll(() => {
    workspace?.remove();
    image?.remove();
  });

  /** Free ports of this machine, whose network the container has. */
  async function ports(): Promise<Record<string, string>> {
    const [tls, http, stun] = [await freePort(), await freePort(), await freePort()];
    return { DERPKIT_LISTEN: `:${tls}`, DERPKIT_HTTP_PORT: `${http}`, DERPKIT_STUN_PORT: `${stun}` };
  }

  it('the image declares command, user, ports, volume, health check and labels', () => {
    const { config } = image;
    expect(config).toMatchObject({
      Cmd: ['serve'],
      User: '65532:65532',
      StopSignal: 'SIGTERM',
      Volumes: { '/data': {} },
      ExposedPorts: { '8443/tcp': {}, '8080/tcp': {}, '3478/udp': {} },
    });
    expect(config.Healthcheck.Test.slice(0, 1)).toEqual(['CMD']);
    expect(config.Labels).toMatchObject({
      'org.opencontainers.image.title': 'derpkit',
      'org.opencontainers.image.version': manifest.version,
      'org.opencontainers.image.licenses': manifest.license,
    });
  });

  it('the image has no shell, no npm and no build tools', () => {
    expect(image.has('/app/node_modules/derpkit/dist/cli/derpkit.js')).toBe(true);
    for (const path of ['/bin/sh', '/usr/bin/npm', '/usr/local/bin/npm', '/app/node_modules/typescript'])
      expect([path, image.has(path)]).toEqual([path, false]);
    const [all, app] = [image.size(), image.size('/app')].map((bytes) => (bytes / 1e6).toFixed(0));
    console.log(`the image has ${all} MB on this base, ${app} MB of them derpkit and its dependencies`);
  });

  it('a container relays packets of the real Go client, read-only and without privileges, and is healthy meanwhile', async () => {
    const env = {
      ...(await ports()),
      DERPKIT_PLANE: 'native',
      DERPKIT_CERT_MODE: 'manual',
      DERPKIT_HOSTNAME: SERVER_NAME,
      DERPKIT_CERT_DIR: '/certs',
    };
    const container = new Container(image, { env, mounts: { '/certs': workspace.directory } });
    const port = await portOf(container.relay, 'DERP over TLS');
    const milliseconds = performance.now() - container.started;
    console.log(`a container of the image serves ${Math.round(milliseconds)} ms after its start`);
    const http = await portOf(container.relay, 'HTTP');
    const stun = await portOf(container.relay, 'STUN');
    const target = [
      '-tls',
      `https://127.0.0.1:${port}`,
      '-port80',
      `http://127.0.0.1:${http}`,
      '-stun',
      `127.0.0.1:${stun}`,
    ];
    const trust = ['-ca', workspace.authority, '-server-name', SERVER_NAME];
    for (const scenario of ['relay-tls', 'stun', 'http-port-80', 'traffic-200-clients'])
      await run(workspace.peers.interop, ['-run', scenario, ...target, ...trust]);
    expect(container.relay.stderr).toContain('plane=native');
    expect(await container.health()).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('answers DERP: nodekey:'),
    });
    container.kill('SIGTERM');
    expect((await container.relay.end()).code).toBe(0);
  });

  it('a container reads settings from variables, and keeps its key in its volume', async () => {
    const env = {
      ...(await ports()),
      DERPKIT_CERT_MODE: 'off',
      DERPKIT_STUN: 'false',
      DERPKIT_PLANE: 'js',
      DERPKIT_LOG_FORMAT: 'json',
    };
    const container = new Container(image, { env });
    await container.relay.printed(/"msg":"serving DERP over plain HTTP"/);
    expect(container.relay.stderr).toContain('"plane":"js"');
    expect(
      spawnSync('find', [join(image.directory), '-path', '*/data/derper.key', '-uid', '65532', '-perm', '600'], {
        encoding: 'utf8',
      }).stdout,
    ).not.toBe('');
    expect((await container.health()).code).toBe(0);
    container.kill('SIGTERM');
    expect((await container.relay.end()).code).toBe(0);
  });

  it('a container is unhealthy if its relay serves another port than the variables say', async () => {
    const env = { ...(await ports()), DERPKIT_STUN: 'false' };
    const container = new Container(image, { env, cmd: ['serve', '--listen=127.0.0.1:0'] });
    await container.relay.printed(/serving DERP/);
    expect(await container.health()).toMatchObject({ code: 1, stderr: expect.stringContaining('connection refused') });
  });
});
