/** The package for Debian, installed and run by a real systemd. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildDebian, imageToolsMissing } from '../../packaging/image/bases.mjs';
import { Command, networkEnvironment, ROOT } from '../cli/commands.js';
import { eventually } from '../helpers/wait.js';
import { Booted } from './booted.js';

const LONG = process.env.DERPKIT_LONG === '1';
const missing = LONG ? imageToolsMissing() : 'npm run test:long boots one';
if (missing) console.warn(`left out: the units under a real systemd: ${missing}`);

describe.skipIf(missing)('the Debian package under a real systemd', { timeout: 240_000 }, () => {
  let system: Booted;
  let packages: string;

  beforeAll(async () => {
    packages = mkdtempSync(join(tmpdir(), 'derpkit-packages-'));
    const make = new Command([process.execPath, join(ROOT, 'packaging/deb.mjs'), packages], {
      env: networkEnvironment(),
      patience: 240_000,
      endsWithTest: false,
    });
    expect((await make.end()).code, make.stderr).toBe(0);
    system = await Booted.start(await buildDebian(), packages);
    // Its Node is the one of this machine, which no package of Debian has brought.
    const [name = ''] = readdirSync(packages);
    const installed = system.run('dpkg', '--force-depends', '--install', `/host/${name}`);
    expect(installed.code, installed.stderr).toBe(0);
  }, 900_000);

  afterAll(async () => {
    await system?.stop();
    rmSync(packages, { recursive: true, force: true });
  }, 120_000);

  /** Gives the unit a drop-in, in place of the one before. */
  function dropIn(...lines: readonly string[]): void {
    const directory = '/etc/systemd/system/derpkit.service.d';
    const text = ['[Service]', ...lines].join('\\n');
    system.run(
      'sh',
      '-c',
      `mkdir -p ${directory}; printf '${text}\\n' > ${directory}/test.conf; systemctl daemon-reload`,
    );
  }

  function restart(...lines: readonly string[]): void {
    dropIn(...lines);
    const { code, stderr } = system.run('systemctl', 'restart', 'derpkit');
    expect(code, stderr).toBe(0);
  }

  const isHealthy = () => system.run('derpkit', 'health', '--url', 'https://127.0.0.1').code === 0;

  it('an installation starts nothing', () => {
    expect(system.run('systemctl', 'is-active', 'derpkit').stdout).toBe('inactive\n');
    expect(system.run('id', '--user', '--name', 'derpkit').stdout).toBe('derpkit\n');
  });

  it.each(['native', 'js'])('systemd starts, reloads and stops the relay, on the %s plane', (plane) => {
    system.run('sh', '-c', 'echo {} > /etc/derpkit/rate.json');
    restart(`Environment=DERPKIT_PLANE=${plane} DERPKIT_RATE_CONFIG=/etc/derpkit/rate.json`);
    expect(system.property('StatusText')).toBe(
      `serving TLS on port 443, HTTP on port 80, STUN on port 3478; plane ${plane}`,
    );
    expect(system.property('User')).toBe('derpkit');
    expect(isHealthy()).toBe(true);
    expect(system.run('systemctl', 'reload', 'derpkit').code).toBe(0);
    expect(system.property('ActiveState')).toBe('active');
    expect(system.run('systemctl', 'stop', 'derpkit').code).toBe(0);
    expect(system.property('Result')).toBe('success');
  });

  it.each(['native', 'js'])('sockets start a relay without privileges, on the %s plane', async (plane) => {
    system.run('systemctl', 'stop', 'derpkit');
    dropIn(`Environment=DERPKIT_PLANE=${plane}`, 'AmbientCapabilities=', 'CapabilityBoundingSet=');
    const sockets = ['derpkit.socket', 'derpkit-http.socket', 'derpkit-stun.socket'];
    expect(system.run('systemctl', 'start', ...sockets).code).toBe(0);
    expect(system.property('ActiveState')).toBe('inactive');
    await eventually(isHealthy, 'a relay that a connection has started', 60_000);
    expect(system.property('StatusText')).toBe(
      `serving TLS on port 443, HTTP on port 80, STUN on port 3478; plane ${plane}`,
    );
    system.run('systemctl', 'stop', ...sockets, 'derpkit');
  });

  it('systemd restarts a relay that hangs, and does not watch a relay on the JavaScript plane', async () => {
    restart('WatchdogSec=2', 'Environment=DERPKIT_PLANE=js');
    expect(system.property('WatchdogUSec')).toBe('0');
    restart('WatchdogSec=2', 'Environment=DERPKIT_PLANE=native');
    const watched = system.property('WatchdogTimestampMonotonic');
    await eventually(() => system.property('WatchdogTimestampMonotonic') !== watched, 'a sign of life', 60_000);
    const [restarts, pid] = [system.property('NRestarts'), system.property('MainPID')];
    expect(restarts).toBe('0');
    system.run('systemctl', 'kill', '--signal=STOP', 'derpkit');
    await eventually(() => system.property('NRestarts') === '1', 'another start', 60_000);
    await eventually(isHealthy, 'the relay to serve again', 60_000);
    expect(system.property('MainPID')).not.toBe(pid);
  });

  it('the removal and the purge of the package leave the keys', () => {
    const key = system.run('cat', '/var/lib/derpkit/derper.key').stdout;
    expect(key).toContain('privkey:');
    expect(system.run('dpkg', '--remove', 'derpkit').code).toBe(0);
    expect(system.run('systemctl', 'is-active', 'derpkit').stdout).toBe('inactive\n');
    const { code, stdout } = system.run('dpkg', '--purge', 'derpkit');
    expect({ code, stdout }).toEqual({
      code: 0,
      stdout: expect.stringContaining('the keys and certificates in /var/lib/derpkit stay'),
    });
    expect(system.run('cat', '/var/lib/derpkit/derper.key').stdout).toBe(key);
  });
});
