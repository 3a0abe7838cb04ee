/**
 * The package managers and the registry that the install suite uses: each as it is published, of one version, in a cache
 * outside of the clone.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from './cache.mjs';

const MANIFEST = {
  private: true,
  dependencies: {
    // Later ones want a newer Node than ours.
    verdaccio: '6.8.0',
    pnpm: '10.34.9',
    '@yarnpkg/cli-dist': '4.18.1',
    bun: '1.4.5',
  },
  // verdaccio asks for it by a tag, which not every mirror of the registry has.
  overrides: { 'node-fetch': '2.7.0' },
};

/** Installs them, or finds them installed. Returns the script or program of each. */
export function packageManagers() {
  const text = JSON.stringify(MANIFEST);
  const cache = join(cacheDirectory(), 'managers');
  const finished = join(cache, createHash('sha256').update(text).digest('hex').slice(0, 16));
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: installing the package managers that the install suite uses; once\n');
    const unfinished = join(cache, `unfinished-${randomUUID()}`);
    mkdirSync(unfinished, { recursive: true });
    writeFileSync(join(unfinished, 'package.json'), text);
    const args = ['install', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error'];
    const { status, stderr } = spawnSync('npm', args, { cwd: unfinished, encoding: 'utf8' });
    if (status !== 0) throw new Error(`the package managers cannot be installed: ${stderr}`);
    try {
      renameSync(unfinished, finished);
    } catch (error) {
      // Another process was faster, and its work is as good.
      if (!existsSync(finished)) throw error;
      rmSync(unfinished, { recursive: true, force: true });
    }
  }
  const modules = join(finished, 'node_modules');
  // What its install script would link is the binary of this platform's package.
  const bun = join(modules, '@oven', `bun-${process.platform}-${process.arch}`, 'bin', 'bun');
  return {
    verdaccio: join(modules, 'verdaccio/bin/verdaccio'),
    pnpm: join(modules, 'pnpm/bin/pnpm.cjs'),
    yarn: join(modules, '@yarnpkg/cli-dist/bin/yarn.js'),
    bun,
  };
}
