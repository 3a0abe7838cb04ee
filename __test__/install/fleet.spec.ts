/** The compose file of several relays, as compose reads it, and its services as processes of this machine. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { buildComposeReader } from '../../packaging/compose.mjs';
import { readFleet } from '../../packaging/fleet/compose-file.mjs';
import { whyNoFleet } from '../../packaging/fleet/fleet.mjs';
import { builtNats } from '../../packaging/nats.mjs';
import { whyNoGo } from '../../packaging/peers.mjs';
import { variableOf } from '../../src/cli/sources.js';
import { SETTINGS } from '../../src/config.js';
import { Command, ROOT } from '../cli/commands.js';

const FILE = join(ROOT, 'packaging/compose/fleet.yaml');
const VARIABLES = { DERP_HOSTNAME: 'derp.test', DERP_CERTS: '/tmp' };

const nats = builtNats();
if (!nats) console.warn('left out: NATS in the fleet: it is not built');
const noGo = whyNoGo();
if (noGo) console.warn(`left out: the compose file of the fleet: ${noGo}`);
const noFleet = whyNoFleet();
if (noFleet) console.warn(`left out: a fleet: ${noFleet}`);

interface Service {
  readonly environment: Readonly<Record<string, string>> | null;
  readonly networks: { readonly fleet: { readonly ipv4_address: string; readonly aliases?: readonly string[] } };
  readonly read_only?: boolean;
  readonly cap_drop?: readonly string[];
  readonly secrets?: readonly { readonly source: string }[];
  readonly volumes: readonly { readonly source: string; readonly target: string }[];
}

describe('fleet.yaml', () => {
  it.skipIf(noGo)('the fleet runs what compose reads in fleet.yaml', { timeout: 240_000 }, async () => {
    const { PATH = '', HOME = '' } = process.env;
    const reader = await buildComposeReader();
    const read = (env: object) => spawnSync(reader, [FILE], { encoding: 'utf8', env: { PATH, HOME, ...env } });
    const { status, stdout, stderr } = read(VARIABLES);
    expect([status, stderr]).toEqual([0, '']);
    const project = JSON.parse(stdout) as {
      services: Record<string, Service>;
      configs: Record<string, { content: string }>;
    };
    const fleet = readFleet(VARIABLES);
    expect(Object.keys(project.services).sort()).toEqual(fleet.services.map(({ name }) => name).sort());
    for (const { name, environment, address, aliases } of fleet.services) {
      const service = project.services[name] as Service;
      expect(service.environment ?? {}).toEqual(environment);
      expect(service.networks.fleet).toMatchObject({ ipv4_address: address, ...(aliases.length > 0 && { aliases }) });
    }
    for (const name of ['haproxy', 'nats']) expect(project.configs[name]?.content).toBe(fleet.configs[name]);
    expect(fleet.configs.nats).toMatch(/^no_fast_producer_stall: true$/m);
    const relays = Object.values(project.services).filter(({ environment }) => environment?.DERPKIT_HOSTNAME);
    expect(relays).toHaveLength(3);
    for (const relay of relays) expect(relay).toMatchObject({ read_only: true, cap_drop: ['ALL'] });
    // Each has a key of its own.
    expect(new Set(relays.map(({ volumes }) => volumes.find(({ target }) => target === '/data')?.source)).size).toBe(3);
    expect(read({}).stderr).toContain('required variable DERP_HOSTNAME is missing a value');
  });

  it('the variables of fleet.yaml are settings, and HAProxy’s address has no share of its own', () => {
    const { services } = readFleet(VARIABLES);
    const haproxy = services.find(({ name }) => name === 'haproxy');
    const relays = services.filter(({ environment }) => environment.DERPKIT_HOSTNAME);
    expect(relays).toHaveLength(3);
    for (const { environment, name } of relays) {
      const ours = Object.keys(environment).filter((variable) => variable.startsWith('DERPKIT_'));
      expect(ours.filter((variable) => !SETTINGS.some((setting) => variableOf(setting.name) === variable))).toEqual([]);
      expect(environment.DERPKIT_LIMITS_EXEMPT?.split(','), name).toContain(`${haproxy?.address}/32`);
    }
  });
});

function isOpen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, host, () => {
      socket.destroy();
      resolve(true);
    }).on('error', () => resolve(false));
  });
}

describe.skipIf(noFleet && !process.env.CI)('npm run fleet', () => {
  it('npm run fleet shows relays that find each other, a relay that is killed and comes back, and a relay that drains', async () => {
    const fleet = new Command([process.execPath, join(ROOT, 'packaging/fleet.mjs'), '--once'], {
      // The cache that it was found in: a command has another home.
      env: nats ? { DERPKIT_CACHE: join(nats, '../../..') } : {},
    });
    const said = ['they have found each other', 'is killed', 'comes back', 'drains and ends'];
    for (const text of said) await fleet.printed(new RegExp(text));
    const { code, stdout, stderr } = await fleet.end();
    expect([code, stderr]).toEqual([0, '']);
    const talks = [
      ...stdout.matchAll(/(\d+) packets between clients of all relays, (\d+) arrived, (\d+) out of order/g),
    ];
    // With NATS, also while it is away.
    expect(talks).toHaveLength(nats ? 5 : 4);
    expect(stdout).toMatch(nats ? /NATS is killed[\s\S]*it comes back/ : /without NATS/);
    for (const [line, sent, arrived, outOfOrder] of talks) {
      expect([arrived, outOfOrder], line).toEqual([sent, '0']);
      expect(Number(sent)).toBeGreaterThan(100);
    }
    expect(stdout).toMatch(/the relays have \d+ \+ \d+ \+ \d+ clients/);
  });

  it('npm run fleet says which port is taken, and perhaps by npm start', async () => {
    // The other relays call there.
    const taken = createServer((socket) => socket.on('error', () => {}).destroy()).listen(8443, '127.31.250.12');
    await once(taken, 'listening');
    try {
      const fleet = new Command([process.execPath, join(ROOT, 'packaging/fleet.mjs'), '--once']);
      const { code, stderr } = await fleet.end();
      expect([code, stderr]).toEqual([
        1,
        'derpkit: relay-2 cannot listen on 127.31.250.12:8443: the port is taken, perhaps by npm start or another npm run fleet\n',
      ]);
    } finally {
      taken.close();
    }
  });

  it('Ctrl-C ends every relay of the fleet', async () => {
    const fleet = new Command([process.execPath, join(ROOT, 'packaging/fleet.mjs')]);
    await fleet.printed(/they have found each other/);
    expect(await isOpen(8443, '127.31.250.11')).toBe(true);
    expect((await fleet.stop('SIGINT')).code).toBe(0);
    for (const host of [11, 12, 13]) expect(await isOpen(8443, `127.31.250.${host}`)).toBe(false);
  });
});
