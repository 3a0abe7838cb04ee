/** What the platform packages ask of a system, read from the files as they are published. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { addonFile, TARGETS, targetName } from '../../src/plane/targets.js';
import { ROOT } from '../cli/commands.js';
import { type Elf, readElf } from './elf.js';
import { packAll } from './registry.js';

const PATIENCE = 600_000;
const MOST_BYTES = 8 * 2 ** 20;
const OLDEST_GLIBC = [2, 28] as const;
const GLIBC = /^(?:ld-linux-(?:x86-64|aarch64)|lib(?:c|dl|m|pthread|rt))\.so\.\d$/;
/** What is there for a target that was built here: by `npm run build`, or for a release. */
const BUILT = TARGETS.filter(
  (target) => target.startsWith('linux') && existsSync(join(ROOT, 'npm', target, addonFile(target))),
);

const directory = mkdtempSync(join(tmpdir(), 'derpkit-artefacts-'));

beforeAll(() => {
  packAll(directory);
  for (const target of BUILT) {
    const to = join(directory, target);
    mkdirSync(to);
    execFileSync('tar', ['-xzf', join(directory, `derpkit-native-${target}-${manifest.version}.tgz`), '-C', to]);
  }
}, PATIENCE);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

it('the addon of this system is among the artefacts', () => {
  expect(BUILT).toContain(targetName());
});

describe.each(BUILT)('the package for %s', (target) => {
  const [, arch, libc] = target.split('-');
  const path = (file: string) => join(directory, target, 'package', file);
  const elf = (file: string): Elf => readElf(readFileSync(path(file)));
  const aside = (file: string): Elf => {
    const name = file === 'derp-bench' ? `derp-bench.${target}` : file;
    return readElf(readFileSync(join(directory, `${name}.debug`)));
  };
  const files = [addonFile(target), 'derp-bench'];

  it('a platform package has the addon, the load generator, and their descriptions', () => {
    expect(readdirSync(path('.')).sort()).toEqual(['LICENSE', 'README.md', 'package.json', ...files].sort());
  });

  describe.each(files)('%s', (file) => {
    it('a binary is small, for its processor, and has its symbols and debug information in a separate file', () => {
      const { size } = statSync(path(file));
      console.log(`${target}: ${file}: ${size.toLocaleString('en')} bytes`);
      expect(size).toBeLessThanOrEqual(MOST_BYTES);
      expect(elf(file).machine).toBe(arch);
      // One section of that name is loaded along with the program: it tells debuggers of Rust where scripts for it are.
      const left = elf(file).sections.filter((name) => /^\.(?:debug_(?!gdb_scripts$)|symtab|strtab)/.test(name));
      expect(left).toEqual([]);
      expect(aside(file).sections).toEqual(expect.arrayContaining(['.symtab', '.debug_info', '.debug_line']));
    });

    it('a binary needs the C library, and no C++ library', () => {
      const { needed, interpreter, versions } = elf(file);
      expect(versions.filter((version) => /^(?:GLIBCXX|CXXABI)/.test(version))).toEqual([]);
      if (libc === 'musl') {
        // The addon has no C library of its own: it shares that of Node. The program needs nothing of the system.
        expect(needed).toEqual(file === 'derp-bench' ? [] : ['libc.so']);
        expect(interpreter).toBeUndefined();
      } else {
        // A compiler of the system links the library that unwinds stacks, which comes with every Node.
        expect(needed.filter((name) => !GLIBC.test(name) && name !== 'libgcc_s.so.1')).toEqual([]);
      }
    });

    it.runIf(libc === 'gnu')('a binary needs no newer glibc than Node does', (context) => {
      const { versions } = elf(file);
      // What the compiler of this system links asks for what this system has, and is not for a release.
      if (!aside(file).comment.includes('zig')) {
        const reason = `it is built for this system alone; npm run build-target -- ${target} builds it for others`;
        console.log(`left out: the glibc of ${target}: ${file}: ${reason}`);
        context.skip(reason);
      }
      const newer = versions.filter((version) => isNewer(version));
      expect(versions.some((version) => version.startsWith('GLIBC_2.'))).toBe(true);
      expect(newer).toEqual([]);
    });
  });
});

/** Of what has the form GLIBC_2.28: newer than the oldest one that there may be. */
function isNewer(version: string): boolean {
  const [, major, minor] = /^GLIBC_(\d+)\.(\d+)/.exec(version) ?? [];
  if (major === undefined) return false;
  return Number(major) > OLDEST_GLIBC[0] || Number(minor) > OLDEST_GLIBC[1];
}
