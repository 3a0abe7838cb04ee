/** `npm run build` and `npm start` in a clone where the native plane cannot be compiled, or was compiled before. */

import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, it } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { findAddon } from '../../src/plane/addon.js';
import { targetName } from '../../src/plane/targets.js';
import { Command, lines, type Result, ROOT, temporary } from './commands.js';

/** Each build compiles TypeScript, beside other work of the machine. */
const PATIENCE = 55_000;

/** A clone with everything installed, for Cargo and npm to run in. */
function clone(): string {
  const directory = join(temporary(), 'derpkit');
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT });
  for (const name of listed.toString().split('\0')) {
    if (name !== '' && existsSync(join(ROOT, name))) {
      cpSync(join(ROOT, name), join(directory, name), { preserveTimestamps: true });
    }
  }
  symlinkSync(join(ROOT, 'node_modules'), join(directory, 'node_modules'));
  return directory;
}

/** Cargo as it is, without a registry: nothing is downloaded yet, and nothing can be. */
function withoutRegistry(directory: string): Record<string, string> {
  const { HOME = '', RUSTUP_HOME = join(HOME, '.rustup') } = process.env;
  const [cargo, cache] = [join(directory, '../cargo'), join(directory, '../cache')];
  mkdirSync(cargo, { recursive: true });
  return { RUSTUP_HOME, CARGO_HOME: cargo, CARGO_NET_OFFLINE: 'true', DERPKIT_CACHE: cache };
}

function build(directory: string, env: Record<string, string>): Promise<Result> {
  return new Command([process.execPath, 'packaging/build.mjs'], { cwd: directory, env, patience: PATIENCE }).end();
}

/** The lines of ours, without those of Cargo. */
function own(text: string): string[] {
  return lines(text).filter((line) => line.startsWith('derpkit: '));
}

const WHY = [
  'derpkit: the native plane cannot be compiled: Cargo says why above',
  'derpkit: packets move in JavaScript until it can; the next start or build tries again',
];

it('npm start goes on in JavaScript where Cargo has no registry, says why, and tries again', {
  timeout: 120_000,
}, async () => {
  const directory = clone();
  const env = withoutRegistry(directory);
  for (let attempt = 0; attempt < 2; attempt += 1) {
    const [port, httpPort, stunPort] = await freePorts(3);
    const ports = [`--port=${port}`, `--http-port=${httpPort}`, `--stun-port=${stunPort}`];
    const start = new Command([process.execPath, 'packaging/start.mjs', ...ports], {
      cwd: directory,
      env,
      patience: PATIENCE,
    });
    await start.printed(/^ {2}plane {5}js \(there is no native plane/m);
    expect(own(start.stderr)).toEqual([
      'derpkit: building',
      expect.stringMatching(/^derpkit: compiling the native plane: about \w+ minutes/),
      ...WHY,
      'derpkit: starting',
    ]);
    // Cargo's own words.
    expect(start.stderr).toMatch(/error: .*\n[\s\S]*offline/);
    expect((await start.stop('SIGINT')).code).toBe(0);
  }
});

it.each([
  [{}, 0, WHY],
  [{ CI: 'true' }, 1, ['derpkit: the native plane cannot be compiled']],
  [{ DERPKIT_PLANE: 'native' }, 1, ['derpkit: the native plane cannot be compiled']],
])(
  'npm run build with %j ends with %i where the native plane cannot be compiled',
  { timeout: 120_000 },
  async (asked, code, words) => {
    const directory = clone();
    const result = await build(directory, { ...withoutRegistry(directory), ...asked });
    expect(result.code).toBe(code);
    expect(own(result.stderr).slice(1)).toEqual(words);
    expect(existsSync(join(directory, 'dist/.built'))).toBe(false);
  },
);

it('a native plane that was compiled from these sources before is compiled in no other clone', {
  timeout: 120_000,
}, async () => {
  const directory = clone();
  const env = withoutRegistry(directory);
  const kept = async (place: string, code: string, ...args: string[]) => {
    const imports = [
      "import { existsSync } from 'node:fs';",
      "import { keptAddon, keepAddon } from './packaging/built-addons.mjs';",
      "import { targetName } from './packaging/native.mjs';",
      "const place = keptAddon(targetName(), 'native');",
    ];
    const line = [process.execPath, '--input-type=module', '-e', [...imports, code].join('\n'), ...args] as const;
    const { code: status, stdout, stderr } = await new Command(line, { cwd: place, env }).end();
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    return stdout.trim();
  };
  // As the first clone leaves it.
  await kept(directory, 'keepAddon(process.argv[1], place);', findAddon().path);

  const other = join(dirname(directory), 'another');
  cpSync(directory, other, { recursive: true, verbatimSymlinks: true });
  const taken = await build(other, { ...env, DERPKIT_PLANE: 'native' });
  expect(own(taken.stderr)).toEqual([
    'derpkit: the native plane was compiled from these sources before; it is taken from the cache',
  ]);
  expect(taken.code).toBe(0);
  const version = new Command([process.execPath, 'dist/cli/derpkit.js', 'version'], { cwd: other });
  expect((await version.end()).stdout).toMatch(/^plane: native /m);

  // Not from other sources.
  expect(await kept(other, 'console.log(existsSync(place));')).toBe('true');
  appendFileSync(join(other, 'crates/derp-net/src/lib.rs'), '\n// Another line.\n');
  expect(await kept(other, 'console.log(existsSync(place));')).toBe('false');
});

it('the addon from before stays while another is compiled, and goes if that fails', { timeout: 120_000 }, async () => {
  const directory = clone();
  const env = withoutRegistry(directory);
  const addon = join(directory, 'npm', targetName(), `derpkit.${targetName()}.node`);
  const [bin, seen] = [join(directory, '../bin'), join(directory, '../seen')];
  mkdirSync(bin);
  const cargo = execFileSync('which', ['cargo']).toString().trim();
  const look = `if [ -e '${addon}' ]; then echo there; else echo gone; fi >> '${seen}'`;
  writeFileSync(join(bin, 'cargo'), `#!/bin/sh\n${look}\nexec '${cargo}' "$@"\n`, { mode: 0o755 });
  writeFileSync(addon, 'an addon from before');
  const { code, stderr } = await build(directory, { ...env, PATH: `${bin}:${process.env.PATH}` });
  expect(code, stderr).toBe(0);
  expect(own(stderr).slice(-2)).toEqual(WHY);
  expect(new Set(lines(readFileSync(seen, 'utf8')))).toEqual(new Set(['there']));
  expect(readdirSync(dirname(addon)).filter((name) => /\.node$|unfinished/.test(name))).toEqual([]);
});
