import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type DerperFlag, derperFlags } from '../../../src/cli/derper-flags.js';
import { goUsage, parseGoFlags } from '../../../src/cli/goflags.js';
import { putSetting } from '../../../src/config/groups.js';
import { parseSettings, type RelayConfig, SETTINGS } from '../../../src/config.js';
import { temporaryDirectory } from '../temp.js';

const home = temporaryDirectory();

/** All of derper v1.104.5's: name, type, and default as its usage shows it. */
const UPSTREAM: readonly [name: string, type: DerperFlag['type'], fallback: string][] = [
  ['a', 'string', ':443'],
  ['accept-connection-burst', 'int', '9223372036854775807'],
  ['accept-connection-limit', 'float', '+Inf'],
  ['ace', 'bool', ''],
  ['acme-eab-key', 'string', ''],
  ['acme-eab-kid', 'string', ''],
  ['acme-email', 'string', ''],
  ['acme-ip-certs', 'bool', ''],
  ['bootstrap-dns-names', 'string', ''],
  ['c', 'string', ''],
  ['certdir', 'string', '/cache/tailscale/derper-certs'],
  ['certmode', 'string', 'letsencrypt'],
  ['derp', 'bool', 'true'],
  ['dev', 'bool', ''],
  ['disallow-app-names', 'string', ''],
  ['home', 'string', ''],
  ['hostname', 'string', 'derp.tailscale.com'],
  ['http-port', 'int', '80'],
  ['mesh-psk-file', 'string', ''],
  ['mesh-with', 'string', ''],
  ['rate-config', 'string', ''],
  ['secrets-cache-dir', 'string', join(home, '.cache/derper-secrets')],
  ['secrets-path-prefix', 'string', 'prod/derp'],
  ['secrets-url', 'string', ''],
  ['socket', 'string', ''],
  ['stun', 'bool', 'true'],
  ['stun-port', 'int', '3478'],
  ['tcp-keepalive-time', 'duration', '10m0s'],
  ['tcp-user-timeout', 'duration', '15s'],
  ['tcp-write-timeout', 'duration', '2s'],
  ['unpublished-bootstrap-dns-names', 'string', ''],
  ['verify-client-url', 'string', ''],
  ['verify-client-url-fail-open', 'bool', 'true'],
  ['verify-clients', 'bool', ''],
  ['version', 'bool', ''],
];

const flags = derperFlags({ HOME: home, XDG_CACHE_HOME: '/cache' });

describe('derper’s flags', () => {
  it('derper’s flags are these 35, with upstream’s types and defaults', () => {
    expect(UPSTREAM).toHaveLength(35);
    const ours = flags.map(({ name, type, fallback }) => [name, type, fallback]);
    expect(ours.toSorted()).toEqual(UPSTREAM.toSorted());
  });

  it('each flag has one text, which the usage shows', () => {
    const usage = goUsage('derper', flags);
    for (const { name, usage: text } of flags) {
      expect(text).toMatch(/^\S.*\S$/);
      expect(usage).toMatch(new RegExp(`^  -${name}(?: \\w+)?\n    \t`, 'm'));
    }
    expect(usage.match(/^ {2}-/gm)).toHaveLength(35);
  });

  it('each flag accepts its default as a value', () => {
    for (const { name, fallback } of flags) {
      if (fallback !== '') expect(parseGoFlags([`-${name}=${fallback}`], flags).get(name)).toBe(fallback);
    }
  });

  it('flags with a setting name known settings, each once, and their defaults are valid settings', () => {
    const settings = flags.flatMap(({ setting }) => (setting && setting !== 'special' ? [setting] : []));
    expect(new Set(settings).size).toBe(settings.length);
    const names = SETTINGS.map(({ name }) => name);
    for (const { setting, fallback } of flags) {
      if (!setting || setting === 'special') continue;
      expect(names).toContain(setting);
      if (fallback !== '') expect(() => parseSettings(configWith(setting, fallback))).not.toThrow();
    }
  });

  it('flags have the defaults of the settings, except derper’s own defaults', () => {
    const own = ['hostname', 'certDir', 'keyFile', 'meshKeyFile'];
    const defaults = parseSettings({});
    for (const { name, setting, fallback } of flags) {
      if (!setting || setting === 'special' || own.includes(setting) || fallback === '') continue;
      expect(parseSettings(configWith(setting, fallback)), name).toEqual(defaults);
    }
  });
});

function configWith(setting: string, value: unknown): RelayConfig {
  const config = {};
  putSetting(config, setting, value);
  return config;
}

describe('defaults that depend on the user', () => {
  const fallback = (from: readonly DerperFlag[], name: string) => from.find((flag) => flag.name === name)?.fallback;

  it('the certificate directory depends on the user', () => {
    expect(fallback(derperFlags({ XDG_CACHE_HOME: '', HOME: '/u' }), 'certdir')).toBe(
      '/u/.cache/tailscale/derper-certs',
    );
    for (const env of [{ XDG_CACHE_HOME: '', HOME: '' }, {}]) expect(fallback(derperFlags(env), 'certdir')).toBe('');
  });

  it('the directory of secrets is below HOME, or below the working directory', () => {
    expect(fallback(derperFlags({ HOME: '/u', XDG_CACHE_HOME: '/x' }), 'secrets-cache-dir')).toBe(
      '/u/.cache/derper-secrets',
    );
    expect(fallback(derperFlags({}), 'secrets-cache-dir')).toBe('.cache/derper-secrets');
  });

  it('the mesh key file is the first that exists', () => {
    const file = join(home, 'with-key/keys/derp-mesh.key');
    mkdirSync(join(file, '..'), { recursive: true });
    writeFileSync(file, '');
    expect(fallback(derperFlags({ HOME: join(home, 'with-key') }), 'mesh-psk-file')).toBe(file);
  });
});
