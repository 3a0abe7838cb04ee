/**
 * Installs zig as linker and C compiler: it builds for every Linux, against a C library as old as a release requires.
 * It and `cargo-zigbuild`, which connects it to Cargo, come from PyPI, and lie in the cache outside the clone.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { cacheDirectory, makeOnceSync } from './cache.mjs';
import { tripleOf } from './native.mjs';

const PROGRAMS = ['ziglang==0.15.2', 'cargo-zigbuild==0.24.0'];

/** The environment in which Cargo builds for a target with zig. Throws with the reason if zig cannot be installed. */
export function zigFor(target) {
  const tools = installed();
  addToRust(target);
  return { ...process.env, PATH: [join(tools, 'ziglang'), join(tools, 'bin'), process.env.PATH].join(delimiter) };
}

/** Installs a target's standard library for the Rust toolchain. Throws with the reason if it cannot. */
export function addToRust(target) {
  const triple = tripleOf(target);
  const { status, stdout, error } = spawnSync('rustc', ['--print', 'target-libdir', '--target', triple]);
  if (status !== 0) throw new Error(`rustc cannot be asked about ${triple} (${error?.message ?? `status ${status}`})`);
  if (!existsSync(stdout.toString().trim())) {
    process.stderr.write(`derpkit: adding ${triple} to the Rust toolchain; this takes some seconds, once\n`);
    needs('rustup', ['target', 'add', triple]);
  }
}

function installed() {
  return fromPyPi('zig', PROGRAMS, 'zig, which builds for other systems');
}

/** A directory with these PyPI packages, installed once. `options` are pip's. */
export function fromPyPi(name, distributions, what, options = []) {
  const id = createHash('sha256')
    .update(JSON.stringify([distributions, options]))
    .digest('hex')
    .slice(0, 16);
  const finished = join(cacheDirectory(), name, id);
  if (existsSync(finished)) return finished;
  process.stderr.write(`derpkit: installing ${what}; this takes half a minute, once\n`);
  const pip = ['-m', 'pip', 'install', '--quiet', '--no-deps', '--no-compile', '--only-binary=:all:'];
  return makeOnceSync(finished, (directory) => {
    needs('python3', [...pip, '--disable-pip-version-check', ...options, '--target', directory, ...distributions]);
  });
}

function needs(command, args) {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (error || status !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${error?.message ?? stderr.trim()}`);
}
