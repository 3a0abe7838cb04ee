import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { VERSION } from '../../src/version.js';
import { manifest, ROOT, read } from './project.js';

const { version, engines, bin, exports, files } = manifest();

describe('the version', () => {
  it('is one of the package’s form', () => {
    expect(version).toMatch(/^\d+\.\d+\.\d+(?:-[a-z]+\.\d+)?$/);
  });

  it('has its part of the change log, the first one', () => {
    const [first] = /^## (\S+)/m.exec(read('CHANGELOG.md'))?.slice(1) ?? [];
    expect(first).toBe(version);
  });

  it('is the same in the lock file, and in the program', () => {
    const lock = JSON.parse(read('package-lock.json'));
    expect([lock.version, lock.packages[''].version, VERSION]).toEqual([version, version, version]);
  });
});

describe('what a build leaves (npm run build)', () => {
  it.each(Object.entries(bin))('%s can be run', (_name, path) => {
    accessSync(join(ROOT, path), constants.X_OK);
    expect(read(path)).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('are the files that the package exports', () => {
    const targets = Object.values(exports).flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    );
    for (const target of targets) expect(statSync(join(ROOT, target)).isFile(), target).toBe(true);
  });

  it('is in the package', () => {
    for (const path of Object.values(bin)) expect(files).toContain(path.split('/')[0]);
  });
});

describe('Node', () => {
  const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node) ?? [];

  it('is asked for in one version everywhere', () => {
    expect(read('packaging/ensure.mjs')).toContain(`const NEEDED = [${major}, ${minor}];`);
    expect(read('.github/workflows/ci.yml')).toMatch(new RegExp(`node: \\[${major}\\.${minor}\\.0,`));
    expect(manifest().devDependencies['@types/node']).toMatch(new RegExp(`^\\^${major}\\.`));
  });

  it('is no older than that here', () => {
    const [runs = 0, runsMinor = 0] = process.versions.node.split('.').map(Number);
    expect(runs > Number(major) || (runs === Number(major) && runsMinor >= Number(minor))).toBe(true);
  });
});
