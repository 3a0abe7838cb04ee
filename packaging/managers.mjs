/**
 * Installs the package managers and the registry of the install suite: fixed versions, in a cache outside the clone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, makeOnceSync } from './cache.mjs';

const MANIFEST = {
  private: true,
  dependencies: {
    // Later versions need a newer Node than we support.
    verdaccio: '6.8.0',
    pnpm: '10.34.9',
    '@yarnpkg/cli-dist': '4.18.1',
    bun: '1.4.5',
  },
  // verdaccio requests this package by a tag that some mirrors lack.
  overrides: { 'node-fetch': '2.7.0' },
};

/** Installs them, unless they are installed. Returns the path of each script or program. */
export function packageManagers() {
  const text = JSON.stringify(MANIFEST);
  const id = createHash('sha256').update(text).digest('hex').slice(0, 16);
  const finished = join(cacheDirectory(), 'managers', id);
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: installing the package managers that the install suite uses; once\n');
    makeOnceSync(finished, (directory) => {
      writeFileSync(join(directory, 'package.json'), text);
      const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
      const { status, stderr } = spawnSync('npm', args, { cwd: directory, encoding: 'utf8' });
      if (status !== 0) throw new Error(`the package managers cannot be installed: ${stderr}`);
    });
  }
  const modules = join(finished, 'node_modules');
  // The binary of this platform's package, which bun's install script would link.
  const bun = join(modules, '@oven', `bun-${process.platform}-${process.arch}`, 'bin', 'bun');
  return {
    verdaccio: join(modules, 'verdaccio/bin/verdaccio'),
    pnpm: join(modules, 'pnpm/bin/pnpm.cjs'),
    yarn: join(modules, '@yarnpkg/cli-dist/bin/yarn.js'),
    bun,
  };
}
