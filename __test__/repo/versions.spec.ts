import { accessSync, constants, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addonFile, packageOf, TARGETS } from '../../src/plane/targets.js';
import { VERSION } from '../../src/version.js';
import { manifest, ROOT, read } from './project.js';

const { version, engines, bin, exports, files, napi } = manifest();

describe('the version of derpkit', () => {
  it('the version has the package’s form', () => {
    expect(version).toMatch(/^\d+\.\d+\.\d+(?:-[a-z]+\.\d+)?$/);
  });

  it('the version is that of the first section of the change log', () => {
    const [first] = /^## (\S+)/m.exec(read('CHANGELOG.md'))?.slice(1) ?? [];
    expect(first).toBe(version);
  });

  it('the version is that of the crates, which an addon reports', () => {
    expect(read('Cargo.toml')).toMatch(new RegExp(`^version = "${version}"$`, 'm'));
    expect(read('Cargo.lock')).toMatch(new RegExp(`^name = "derp-node"\nversion = "${version}"$`, 'm'));
  });

  it('the lock file and the program have the package’s version', () => {
    const lock = JSON.parse(read('package-lock.json'));
    expect([lock.version, lock.packages[''].version, VERSION]).toEqual([version, version, version]);
  });
});

describe('the platform packages', () => {
  const packages = TARGETS.map((target) => [target, JSON.parse(read(`npm/${target}/package.json`))] as const);

  it('the platform packages are those that the loader looks for, and those that the tool builds', () => {
    expect(napi.targets.map(targetOf).sort()).toEqual([...TARGETS].sort());
    expect(readdirSync(join(ROOT, 'npm')).sort()).toEqual([...TARGETS].sort());
    expect(packageOf('x')).toBe(`${napi.packageName}-x`);
    expect(addonFile('x')).toBe(`${napi.binaryName}.x.node`);
  });

  it.each(packages)(
    'the package for %s has the version of the whole, and the fields of its platform',
    (target, found) => {
      const [os, cpu, libc] = target.split('-');
      expect(found).toMatchObject({ name: packageOf(target), version, engines, os: [os], cpu: [cpu] });
      expect(found.libc).toEqual(libc && [libc === 'gnu' ? 'glibc' : 'musl']);
      expect(found.files).toEqual([addonFile(target), 'derp-bench']);
      expect(found.main).toBe(addonFile(target));
      expect(found.scripts).toBeUndefined();
    },
  );
});

/** The target of a Rust triple. */
function targetOf(triple: string): string {
  const [cpu, , system, libc] = triple.split('-');
  const arch = { x86_64: 'x64', aarch64: 'arm64' }[cpu as string];
  return [system, arch, ...(libc ? [libc] : [])].join('-');
}

describe('the output of npm run build', () => {
  it.each(Object.entries(bin))('%s can be run', (_name, path) => {
    accessSync(join(ROOT, path), constants.X_OK);
    expect(read(path)).toMatch(/^#!\/usr\/bin\/env node\n/);
  });

  it('every file that the package exports exists', () => {
    const targets = Object.values(exports).flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    );
    for (const target of targets) expect(statSync(join(ROOT, target)).isFile(), target).toBe(true);
  });

  it('the programs are in the package', () => {
    for (const path of Object.values(bin)) expect(files).toContain(path.split('/')[0]);
  });
});

describe('the version of Node', () => {
  const [, major, minor] = /^>=(\d+)\.(\d+)$/.exec(engines.node) ?? [];

  it('Node is required in one version everywhere', () => {
    expect(read('packaging/ensure.mjs')).toContain(`const NEEDED = [${major}, ${minor}];`);
    expect(read('.github/workflows/ci.yml')).toMatch(new RegExp(`node: \\[${major}\\.${minor}\\.0,`));
    expect(manifest().devDependencies['@types/node']).toMatch(new RegExp(`^\\^${major}\\.`));
  });

  it('the Node of this run is not older than the required version', () => {
    const [runs = 0, runsMinor = 0] = process.versions.node.split('.').map(Number);
    expect(runs > Number(major) || (runs === Number(major) && runsMinor >= Number(minor))).toBe(true);
  });
});
