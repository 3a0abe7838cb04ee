/** The package for Debian: its contents, and what stays after its removal. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { Command, networkEnvironment, ROOT, temporary } from '../cli/commands.js';
import { keyOf, logIn, portOf } from '../cli/reach.js';

const LONG = process.env.DERPKIT_LONG === '1';
const missing = !LONG
  ? 'npm run test:long makes it'
  : spawnSync('dpkg-deb', ['--version']).error
    ? 'dpkg-deb is not installed'
    : undefined;
if (missing) console.warn(`left out: the package for Debian: ${missing}`);

describe.skipIf(missing)('the package for Debian', { timeout: 240_000 }, () => {
  it('the Debian package has commands, units, a user and settings, and its removal leaves the keys', async () => {
    const directory = temporary();
    const make = new Command([process.execPath, join(ROOT, 'packaging/deb.mjs'), directory], {
      env: networkEnvironment(),
      patience: 200_000,
    });
    expect((await make.end()).code, make.stderr).toBe(0);
    const file = join(directory, readdirSync(directory).find((name) => name.endsWith('.deb')) ?? '');
    expect(file).toMatch(new RegExp(`/derpkit_${manifest.version.replaceAll('.', '\\.')}_(?:amd64|arm64)\\.deb$`));
    console.log(`the package for Debian has ${(readFileSync(file).length / 1e6).toFixed(1)} MB`);

    // As dpkg unpacks and removes it, with books of its own; its scripts need a system.
    const root = join(directory, 'root');
    for (const name of ['updates', 'info', 'triggers'])
      mkdirSync(join(root, 'var/lib/dpkg', name), { recursive: true });
    for (const name of ['status', 'available']) writeFileSync(join(root, 'var/lib/dpkg', name), '');
    const dpkg = (...args: readonly string[]) => {
      const how = [
        '--root',
        root,
        '--force-depends',
        '--force-not-root',
        '--force-bad-path',
        '--force-script-chrootless',
      ];
      const { status, stdout, stderr } = spawnSync('dpkg', [...how, ...args], { encoding: 'utf8' });
      return { status, output: stdout + stderr };
    };
    const unpacked = dpkg('--unpack', file);
    expect(unpacked.status, unpacked.output).toBe(0);
    const units = readdirSync(join(root, 'usr/lib/systemd/system')).sort();
    expect(units).toEqual(['derpkit-http.socket', 'derpkit-stun.socket', 'derpkit.service', 'derpkit.socket']);
    expect(readFileSync(join(root, 'usr/lib/sysusers.d/derpkit.conf'), 'utf8')).toMatch(/^u derpkit /);
    expect(existsSync(join(root, 'etc/derpkit/derpkit.env.dpkg-new'))).toBe(true);

    const data = join(root, 'var/lib/derpkit');
    const flags = ['--listen=127.0.0.1:0', '--http-port=-1', '--no-stun', '--cert-mode=off', '--data-dir', data];
    const relay = new Command([join(root, 'usr/bin/derpkit'), 'serve', ...flags]);
    const port = await portOf(relay, 'DERP over plain HTTP');
    const [from, to] = [await logIn(port, await keyOf(relay)), await logIn(port, await keyOf(relay))];
    from.sendPacket(to.key, 'through it');
    expect(await to.expectPacket('through it')).toBe(from.key);
    expect(relay.stderr).toContain('plane=native');
    await relay.stop();
    expect((await new Command([join(root, 'usr/bin/derper'), '-version']).end()).stdout).toBe(`${manifest.version}\n`);

    const purged = dpkg('--purge', 'derpkit');
    expect(purged.status, purged.output).toBe(0);
    expect(existsSync(join(root, 'usr/lib/derpkit'))).toBe(false);
    expect(readdirSync(data)).toContain('derper.key');
  });

  it('the scripts of the Debian package have valid syntax', () => {
    for (const name of ['postinst', 'prerm', 'postrm']) {
      expect(spawnSync('sh', ['-n', join(ROOT, 'packaging/deb', name)]).status, name).toBe(0);
    }
  });
});
