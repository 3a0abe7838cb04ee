/** The package as it is published: what is in it, and that it works where it is installed. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { Command, networkEnvironment, type Result, ROOT, temporary } from './commands.js';

/** npm with its own settings and our cache, so that little has to be fetched. */
async function npm(args: readonly string[], cwd: string): Promise<Result> {
  const { HOME = '', npm_config_cache: cache = join(HOME, '.npm') } = process.env;
  const env = {
    ...networkEnvironment(),
    HOME: cwd,
    npm_config_cache: cache,
    npm_config_update_notifier: 'false',
  };
  const result = await new Command(['npm', ...args], { cwd, env, patience: 100_000 }).end();
  expect(result.code, result.stderr).toBe(0);
  return result;
}

describe('the lock file', () => {
  it('the lock file has every package that an installation needs, on any system', () => {
    const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as Lock;
    const places = Object.keys(lock.packages);
    const missing = Object.entries(lock.packages).flatMap(([place, { dependencies, optionalDependencies }]) =>
      Object.keys({ ...dependencies, ...optionalDependencies })
        .filter((name) => !places.some((other) => other.endsWith(`node_modules/${name}`)))
        .map((name) => `${name}, for ${place}`),
    );
    // `npm ci` would refuse a clone, even on systems that do not need the missing packages.
    expect(missing).toEqual([]);
  });
});

interface Lock {
  readonly packages: Record<
    string,
    { readonly dependencies?: Record<string, string>; readonly optionalDependencies?: Record<string, string> }
  >;
}

describe('the package', () => {
  it('the package contains what runs and what users read, and no sources', async () => {
    // Without its scripts: these would build anew under the feet of the other tests.
    const { stdout } = await npm(['pack', '--dry-run', '--json', '--ignore-scripts'], ROOT);
    const [{ files }] = JSON.parse(stdout) as [{ files: { path: string; mode: number }[] }];
    const paths = files.map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        'CHANGELOG.md',
        'LICENSE',
        'README.md',
        'SECURITY.md',
        'package.json',
        'docs/admission.md',
        'docs/certificates.md',
        'docs/fleet.md',
        'dist/index.js',
        'dist/index.d.ts',
        'dist/cli/derpkit.js',
        'dist/cli/derper.js',
      ]),
    );
    const known =
      /^(?:dist\/.+\.(?:js|d\.ts|js\.map)|dist\/http\/live\/.+\.(?:html|css)|docs\/[a-z-]+\.md|[A-Z]+\.md|LICENSE|package\.json)$/;
    expect(paths.filter((path) => !known.test(path))).toEqual([]);
    for (const bin of Object.values(manifest.bin)) {
      expect((files.find(({ path }) => path === bin)?.mode ?? 0) & 0o111).toBe(0o111);
    }
  });

  it('the package works once it is installed', { timeout: 120_000 }, async () => {
    const directory = temporary();
    const project = join(directory, 'project');
    mkdirSync(project);
    writeFileSync(join(project, 'package.json'), '{"name":"project","private":true,"type":"module"}\n');
    await npm(['pack', '--silent', '--ignore-scripts', '--pack-destination', directory], ROOT);
    const tarball = join(directory, `derpkit-${manifest.version}.tgz`);
    expect(existsSync(tarball)).toBe(true);
    await npm(['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], project);
    const [version, derper] = await Promise.all([
      npm(['exec', '--offline', '--', 'derpkit', 'version'], project),
      npm(['exec', '--offline', '--', 'derper', '-version'], project),
    ]);
    expect(version.stdout).toMatch(new RegExp(`^derpkit ${manifest.version}\nprotocol: 2\nplane: `));
    expect(derper.stdout).toBe(`${manifest.version}\n`);
    // As a library, by its name.
    const script = "import { VERSION, createRelay } from 'derpkit'; console.log(VERSION, typeof createRelay);";
    const embedded = await new Command([process.execPath, '--input-type=module', '-e', script], { cwd: project }).end();
    expect(embedded.stdout).toBe(`${manifest.version} function\n`);
  });
});
