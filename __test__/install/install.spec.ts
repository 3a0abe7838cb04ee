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

describe('an installation relays packets on the native plane', { timeout: PATIENCE }, () => {
  it('by npm', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit');
    await project.relays('native', NODE, BIN);
    await project.run('npm', 'exec', '--offline', '--', 'derper', '-version');
  });

  it('by npm without install scripts and without what is for development', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', '--ignore-scripts', '--omit=dev');
    await project.relays('native', NODE, BIN);
  });

  it('by npx, without an installation', async () => {
    const project = new Project(registry);
    const begin = performance.now();
    const args = ['--yes', `derpkit@${manifest.version}`, 'start', '--port=0', '--http-port=0', '--stun-port=0'];
    const relay = project.command('npx', ...args, '--data-dir', join(project.directory, 'data'));
    await relay.printed(/plane {5}native/);
    console.log(`npx derpkit start relays ${((performance.now() - begin) / 1000).toFixed(1)} s after Enter`);
    // As Ctrl-C in a terminal does it, which npx itself dies of.
    await relay.interruptGroup();
  });

  it('by pnpm', async () => {
    const project = new Project(registry, { '.npmrc': 'minimum-release-age=0\n' });
    await project.run(NODE, MANAGERS.pnpm, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.pnpm, 'exec', 'derpkit');
  });

  it('by yarn, with a folder of modules', async () => {
    const project = new Project(registry, { '.yarnrc.yml': 'nodeLinker: node-modules\n', 'yarn.lock': '' });
    await project.run(NODE, MANAGERS.yarn, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.yarn, 'derpkit');
  });

  it('by yarn, with Plug’n’Play', async () => {
    const project = new Project(registry, { '.yarnrc.yml': 'nodeLinker: pnp\n', 'yarn.lock': '' });
    await project.run(NODE, MANAGERS.yarn, 'add', 'derpkit');
    await project.relays('native', NODE, MANAGERS.yarn, 'derpkit');
  });

  it('by bun', async () => {
    const project = new Project(registry);
    await project.run(MANAGERS.bun, 'add', 'derpkit');
    await project.relays('native', NODE, BIN);
  });

  it('with a lock file that was made on another platform', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', '--package-lock-only', '--os=darwin', '--cpu=arm64');
    await project.run('npm', 'ci');
    await project.relays('native', NODE, BIN);
  });
});

describe('an installation relays packets in JavaScript, and says why', { timeout: PATIENCE }, () => {
  const WHY =
    /the native plane cannot be used.*there is no native plane for \S+ \(.*@derpkit\/native-.*; install @derpkit\/native-/;

  it.each([
    ['without optional packages', ['--omit=optional']],
    ['for another platform', ['--os=darwin', '--cpu=arm64', '--libc=none']],
  ])('%s', async (_name, options) => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit', ...options);
    const relay = await project.relays('js', NODE, BIN);
    expect(relay.stderr).toMatch(WHY);
  });
});

describe('what is installed', { timeout: PATIENCE }, () => {
  it('runs no script, and prints its help where no command is given', async () => {
    const project = new Project(registry);
    await project.run('npm', 'install', 'derpkit');
    const lock = JSON.parse(readFileSync(join(project.directory, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean }>;
    };
    expect(Object.values(lock.packages).filter(({ hasInstallScript }) => hasInstallScript)).toEqual([]);
    const { stdout } = await project.run('npx', '--offline', 'derpkit');
    expect(stdout).toMatch(/^Usage: derpkit \[options\] \[command\]$/m);
  });

  it('measures relays with derpkit bench, without a clone', async () => {
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
