/** The package as its users install it: with every package manager, from a registry, into empty projects. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { packageManagers } from '../../packaging/managers.mjs';
import { BIN, PATIENCE, Project } from './project.js';
import { openRegistry, type Registry } from './registry.js';

const { verdaccio: _, ...MANAGERS } = packageManagers();
const NODE = process.execPath;

let registry: Registry;

beforeAll(async () => {
  registry = await openRegistry();
}, 600_000);

afterAll(() => registry?.close());

describe('installations with the native plane', { timeout: PATIENCE }, () => {
  it('npm installs a relay that runs on the native plane', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit');
    await project.relays('native', NODE, BIN);
    await project.run('npm', 'exec', '--offline', '--', 'derper', '-version');
  });

  it('npm installs a relay that runs on the native plane, without install scripts and development packages', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', '--ignore-scripts', '--omit=dev');
    await project.relays('native', NODE, BIN);
  });

  it('npx runs a relay on the native plane, without an installation', async () => {
    const project = new Project(registry);
    const begin = performance.now();
    const args = ['--yes', `derpkit@${manifest.version}`, 'start', '--port=0', '--http-port=0', '--stun-port=0'];
    const relay = project.command('npx', ...args, '--data-dir', join(project.directory, 'data'));
    await relay.printed(/plane {5}native/);
    console.log(`npx derpkit start relays ${((performance.now() - begin) / 1000).toFixed(1)} s after Enter`);
    // As Ctrl-C in a terminal does it, which npx itself dies of.
    await relay.interruptGroup();
  });

  it('pnpm installs a relay that runs on the native plane', async () => {
    const project = new Project(registry, { '.npmrc': 'minimum-release-age=0\n' });
    await project.run(NODE, MANAGERS.pnpm, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.pnpm, 'exec', 'derpkit');
  });

  it('yarn installs a relay that runs on the native plane, with a folder of modules', async () => {
    const project = new Project(registry, { '.yarnrc.yml': 'nodeLinker: node-modules\n', 'yarn.lock': '' });
    await project.run(NODE, MANAGERS.yarn, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.yarn, 'derpkit');
  });

  it('yarn installs a relay that runs on the native plane, with Plug’n’Play', async () => {
    const project = new Project(registry, { '.yarnrc.yml': 'nodeLinker: pnp\n', 'yarn.lock': '' });
    await project.run(NODE, MANAGERS.yarn, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.yarn, 'derpkit');
  });

  it('bun installs a relay that runs on the native plane', async () => {
    const project = new Project(registry);
    await project.run(MANAGERS.bun, 'add', 'derpkit');
    await project.relays('native', NODE, BIN);
  });

  it('npm installs a relay that runs on the native plane, with a lock file of another platform', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', '--package-lock-only', '--os=darwin', '--cpu=arm64');
    await project.run('npm', 'ci');
    await project.relays('native', NODE, BIN);
  });
});

describe('installations without the native plane', { timeout: PATIENCE }, () => {
  const WHY =
    /the native plane cannot be used.*there is no native plane for \S+ \(.*@derpkit\/native-.*; install @derpkit\/native-/;

  it.each([
    ['without optional packages', ['--omit=optional']],
    ['for another platform', ['--os=darwin', '--cpu=arm64', '--libc=none']],
  ])('an installation %s relays packets in JavaScript, and says why', async (_name, options) => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', ...options);
    const relay = await project.relays('js', NODE, BIN);
    expect(relay.stderr).toMatch(WHY);
  });
});

describe('the installed package', { timeout: PATIENCE }, () => {
  it('an installation runs no script, and derpkit without a command prints its help', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit');
    const lock = JSON.parse(readFileSync(join(project.directory, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    expect(Object.values(lock.packages).filter(({ hasInstallScript }) => hasInstallScript)).toEqual([]);
    const { stdout } = await project.run('npx', '--offline', 'derpkit');
    expect(stdout).toMatch(/^Usage: derpkit \[options\] \[command\]$/m);
  });

  it('derpkit bench measures relays without a clone', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit');
    const row = 'relay-2x16384-5k/tls';
    const args = ['bench', '--tiny', '--contenders', 'native,js', '--scenario', row, '--out', 'measured'];
    const { stdout } = await project.run(NODE, BIN, ...args);
    const [record] = readdirSync(join(project.directory, 'measured/record'));
    const { runs } = JSON.parse(readFileSync(join(project.directory, 'measured/record', record as string), 'utf8')) as {
      runs: { scenario: string; contender: string }[];
    };
    expect(runs.map(({ scenario, contender }) => `${scenario} ${contender}`)).toEqual([`${row} native`, `${row} js`]);
    expect(stdout).toMatch(/\S/);
  });
});
