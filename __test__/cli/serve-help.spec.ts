/** The help of `derpkit serve`. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { variableOf } from '../../src/cli/sources.js';
import { SETTINGS } from '../../src/config.js';
import { lines, ROOT, run } from './commands.js';

it('--help names the settings without flags, with their variables and their pages in the package', async () => {
  const { stdout } = await run('derpkit', ['serve', '--help']);
  const named = [...stdout.matchAll(/^ {2}([a-z][A-Za-z.]+) +(DERPKIT_\w+) +(docs\/\w+\.md)$/gm)];
  const expected = SETTINGS.filter(({ kind }) => kind === 'objects').map(({ name }) => [name, variableOf(name)]);
  expect(named.map(([, name, variable]) => [name, variable])).toEqual(expected);
  for (const [, name = '', , page = ''] of named) {
    expect(readFileSync(join(ROOT, page), 'utf8')).toContain(`${name.replace(/^.*\./, '')}:`);
  }
});

it('--help is short, and lists every setting that is not a secret', async () => {
  const { code, stdout, stderr } = await run('derpkit', ['serve', '--help'], { env: { FORCE_COLOR: '1' } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  for (const line of lines(stdout)) expect(line.length, line).toBeLessThanOrEqual(120);
  const flags = [...stdout.matchAll(/^ {2}(--[a-z-]+)/gm)].map(([, flag]) => flag);
  // A line for each, and little around them.
  expect(lines(stdout).length).toBeLessThanOrEqual(flags.length + 15);
  expect(flags).toEqual([
    '--config',
    '--listen',
    '--hostname',
    '--cert-mode',
    '--cert-dir',
    '--acme-directory',
    '--acme-agree-terms',
    '--acme-email',
    '--acme-profile',
    '--acme-eab-kid',
    '--acme-eab-key-file',
    '--acme-ip-certs',
    '--acme-ip-addresses',
    '--no-acme-at-start',
    '--acme-dns-exec',
    '--key-file',
    '--data-dir',
    '--http-port',
    '--no-stun',
    '--stun-port',
    '--no-derp',
    '--home',
    '--bootstrap-dns-names',
    '--unpublished-bootstrap-dns-names',
    '--disallow-app-names',
    '--accept-connection-limit',
    '--accept-connection-burst',
    '--rate-config',
    '--debug-allow-ip',
    '--debug-trusted-cidrs',
    '--debug-key-file',
    '--debug-hosts',
    '--debug-hint',
    '--mesh-key-file',
    '--mesh-with',
    '--mesh-mode',
    '--mesh-idle',
    '--mesh-region',
    '--mesh-advertise-address',
    '--mesh-advertise-port',
    '--mesh-advertise-tls-name',
    '--mesh-drain-delay',
    '--nats-creds-file',
    '--nats-tls-ca-file',
    '--tcp-keepalive-time',
    '--tcp-user-timeout',
    '--tcp-write-timeout',
    '--queue-depth',
    '--no-round-trips',
    '--sender-cardinality',
    '--verbose-drops',
    '--debug-logs',
    '--prober-debug-logs',
    '--metrics-listen',
    '--metrics-token-file',
    '--limits-connections',
    '--limits-per-address',
    '--limits-exempt',
    '--limits-partial-bytes',
    '--limits-queued-bytes',
    '--limits-peer-gone-pairs',
    '--limits-mesh-keys',
    '--admission-policy',
    '--admission-deny-keys',
    '--admission-deny-apps',
    '--admission-cache-allow',
    '--admission-cache-deny',
    '--admission-cache-grace',
    '--admission-recheck',
    '--admission-questions',
    '--plane',
    '--workers',
    '--log-format',
    '--log-level',
  ]);
});
