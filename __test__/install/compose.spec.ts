/** The compose files, as compose reads them, and those of their services that run without containers. */

import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { buildComposeReader } from '../../packaging/compose.mjs';
import { whyNoGo } from '../../packaging/peers.mjs';
import { builtTailnet } from '../../packaging/tailnet.mjs';
import { freePort } from '../../src/bench/ports.js';
import { variableOf } from '../../src/cli/sources.js';
import { SETTINGS } from '../../src/config.js';
import { Command, ROOT, start, temporary } from '../cli/commands.js';
import { keyOf, logIn, portOf } from '../cli/reach.js';

const FILES = join(ROOT, 'packaging/compose');
const names = readdirSync(FILES).filter((name) => name.endsWith('.yaml') && name !== 'fleet.yaml');
const dockerfile = readFileSync(join(ROOT, 'packaging/image/Dockerfile'), 'utf8');
const VARIABLES = { DERP_HOSTNAME: 'derp.test', HEADSCALE_URL: 'http://headscale.test' };

interface Service {
  readonly environment: Readonly<Record<string, string>>;
  readonly command: readonly string[] | null;
  readonly configs?: readonly { readonly source: string; readonly target: string }[];
  readonly ports: readonly { readonly target: number; readonly published: string; readonly protocol: string }[];
  readonly volumes: readonly { readonly type: string; readonly source: string; readonly target: string }[];
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly build?: { readonly context: string };
}

interface Project {
  readonly services: Readonly<Record<string, Service>>;
  readonly configs?: Readonly<Record<string, { readonly content: string }>>;
}

const missing = whyNoGo();
if (missing) console.warn(`left out: the compose files: ${missing}`);
const tailnet = builtTailnet();
if (!tailnet)
  console.warn(
    'left out: what the compose files start: headscale and tailscaled are not built; npm run test:long builds them',
  );

let reader: string;
beforeAll(async () => {
  if (!missing) reader = await buildComposeReader();
}, 240_000);

function read(name: string, env: Readonly<Record<string, string>>) {
  const { PATH = '', HOME = '' } = process.env;
  return spawnSync(reader, [join(FILES, name)], { encoding: 'utf8', env: { PATH, HOME, ...env } });
}

function project(name: string, env: Readonly<Record<string, string>> = VARIABLES): Project {
  const { status, stdout, stderr } = read(name, env);
  if (status !== 0) throw new Error(`${name}: ${stderr}`);
  return JSON.parse(stdout) as Project;
}

describe.skipIf(missing).each(names)('%s', (name) => {
  it('a compose file fits the image', () => {
    const { derpkit } = project(name).services;
    if (!derpkit) throw new Error(`${name} has no relay`);
    expect(derpkit.build?.context).toBe(join(ROOT, 'packaging/image'));
    const known = SETTINGS.map((setting) => variableOf(setting.name));
    expect(Object.keys(derpkit.environment).filter((variable) => !known.includes(variable))).toEqual([]);
    const exposed = /^EXPOSE (.*)$/m.exec(dockerfile)?.[1]?.split(' ');
    expect(derpkit.ports.map(({ target, protocol }) => `${target}/${protocol}`)).toEqual(exposed);
    expect(derpkit.ports.map(({ published }) => published)).toEqual(['443', '80', '3478']);
    const data = /^VOLUME (.*)$/m.exec(dockerfile)?.[1];
    expect(derpkit.volumes[0]).toMatchObject({ type: 'volume', source: 'data', target: data });
    expect(dockerfile).toContain(`DERPKIT_DATA_DIR=${data}\n`);
    expect(derpkit).toMatchObject({ read_only: true, cap_drop: ['ALL'] });
  });

  it('a compose file requires the name of the relay', () => {
    const { DERP_HOSTNAME: _, ...others } = VARIABLES;
    const { status, stderr } = read(name, others);
    expect(status).toBe(1);
    expect(stderr).toContain('required variable DERP_HOSTNAME is missing a value: the name of the relay');
  });
});

/** The relay of a file as a process of this machine, with other ports and places, and a certificate of its own. */
async function relayOf(project: Project, replaced: Readonly<Record<string, string>> = {}): Promise<Command> {
  const given = Object.entries(project.services.derpkit?.environment ?? {}).map(([name, value]) => [
    name,
    Object.entries(replaced).reduce((text, [from, to]) => text.replaceAll(from, to), value),
  ]);
  const ports = { DERPKIT_LISTEN: '127.0.0.1:0', DERPKIT_HTTP_PORT: '-1', DERPKIT_STUN_PORT: '0' };
  return start('derpkit', ['serve'], {
    env: { ...Object.fromEntries(given), ...ports, DERPKIT_DATA_DIR: temporary() },
  });
}

const SELF_SIGNED = { ...VARIABLES, DERP_CERT_MODE: 'self-signed' };

/** Logs a stranger in, and returns the relay’s line about the refusal. */
async function refusal(relay: Command): Promise<string> {
  const port = await portOf(relay, 'DERP over TLS');
  const stranger = logIn(port, await keyOf(relay), { rejectUnauthorized: false });
  await expect(stranger).rejects.toThrow();
  return (await relay.printed(/^.*client refused.*$/im))[0];
}

describe.skipIf(missing)('services of the compose files, as processes of this machine', () => {
  it('derpkit.yaml starts a relay that admits every client', async () => {
    const relay = await relayOf(project('derpkit.yaml', SELF_SIGNED));
    await logIn(await portOf(relay, 'DERP over TLS'), await keyOf(relay), { rejectUnauthorized: false });
  });

  it.skipIf(!tailnet)(
    'headscale.yaml starts headscale with its settings and DERP map, and a relay that asks headscale',
    async () => {
      const [port, metrics, grpc] = [await freePort(), await freePort(), await freePort()];
      const file = project('headscale.yaml', SELF_SIGNED);
      const { headscale } = file.services;
      const directory = temporary();
      const places = {
        '/etc/headscale': directory,
        '/var/lib/headscale': directory,
        '/var/run/headscale': directory,
        '0.0.0.0:8080': `127.0.0.1:${port}`,
        '127.0.0.1:9090': `127.0.0.1:${metrics}`,
        '127.0.0.1:50443': `127.0.0.1:${grpc}`,
      };
      for (const { source, target } of headscale?.configs ?? []) {
        const text = Object.entries(places).reduce(
          (all, [from, to]) => all.replaceAll(from, to),
          file.configs?.[source]?.content ?? '',
        );
        writeFileSync(join(directory, target.slice('/etc/headscale/'.length)), text);
      }
      const command = [
        tailnet?.headscale ?? '',
        '-c',
        join(directory, 'config.yaml'),
        ...(headscale?.command ?? []),
      ] as const;
      const server = new Command(command as readonly [string, ...string[]]);
      await server.printed(/listening and serving HTTP on/i);
      const relay = await relayOf(file, { 'headscale:8080': `127.0.0.1:${port}` });
      expect(await refusal(relay)).toContain(`verifier=http://127.0.0.1:${port} reason="not allowed"`);
    },
  );

  it.skipIf(!tailnet)('tailscaled.yaml starts a relay that asks the tailscaled of the mounted directory', async () => {
    const directory = temporary();
    const file = project('tailscaled.yaml', { ...SELF_SIGNED, TAILSCALED_DIRECTORY: directory });
    const mounted = file.services.derpkit?.volumes.find(({ type }) => type === 'bind');
    expect(mounted).toMatchObject({ source: directory, target: '/run/tailscale' });
    const state = join(directory, 'state');
    mkdirSync(state);
    const flags = [
      `--statedir=${state}`,
      `--socket=${directory}/tailscaled.sock`,
      '--port=0',
      '--tun=userspace-networking',
    ];
    const daemon = new Command([tailnet?.tailscaled ?? '', ...flags, '--no-logs-no-support']);
    await daemon.printed(/LocalBackend|netmon|Starting|wgengine/i);
    const relay = await relayOf(file, { [mounted?.target ?? '']: directory });
    expect(await refusal(relay)).toContain('not logged in');
  });
});
