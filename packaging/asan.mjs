/**
 * Runs the native lane of the conformance suite with AddressSanitizer in the addon: `node packaging/asan.mjs [spec…]`.
 * Needs Linux, `ar`, `cc` and a nightly toolchain. Restores the previous addon afterwards.
 *
 * Node is not built with AddressSanitizer, and Rust links its runtime only into programs. So this script makes a shared
 * library of the toolchain's runtime, and preloads it.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureInstalled, fail, root } from './ensure.mjs';
import { places } from './native.mjs';

if (process.platform !== 'linux') fail('AddressSanitizer is set up for Linux only');
ensureInstalled();

const scratch = mkdtempSync(join(tmpdir(), 'derpkit-asan-'));
const { directory, addon: target } = places();
const before = join(scratch, 'derpkit.node');
mkdirSync(directory, { recursive: true });
if (existsSync(target)) copyFileSync(target, before);
try {
  const host = /^host: (.*)$/m.exec(output('rustc', '+nightly', '-vV'))[1];
  const runtime = sharedRuntime(host);
  replaceAddon(instrumentedAddon(host));
  // The slowdown may fail a test by time, hence the retries; a report of AddressSanitizer always ends the run.
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  run(process.execPath, [vitest, 'run', '--project=conformance', '--retry=2', ...process.argv.slice(2)], {
    DERPKIT_LANES: 'native',
    LD_PRELOAD: runtime,
    // Node frees its memory only by exiting, so leaks are not reported. Vitest hides the last output of a dying worker,
    // so reports go to files.
    ASAN_OPTIONS: `detect_leaks=0:log_path=${join(scratch, 'report')}`,
  });
} catch (error) {
  process.exitCode = 1;
  for (const name of readdirSync(scratch).filter((name) => name.startsWith('report'))) {
    console.error(readFileSync(join(scratch, name), 'utf8'));
  }
  console.error(`derpkit: ${error.message}`);
} finally {
  replaceAddon(before);
  rmSync(scratch, { recursive: true });
}

/** A shared library of the runtime, without the part that only a program can contain. */
function sharedRuntime(host) {
  const libraries = join(output('rustc', '+nightly', '--print', 'sysroot').trim(), 'lib/rustlib', host, 'lib');
  const archive = join(scratch, 'asan.a');
  copyFileSync(join(libraries, 'librustc-nightly_rt.asan.a'), archive);
  run('ar', ['d', archive, 'asan_preinit.cpp.o']);
  // The runtime refuses to work beside a library with its usual name.
  const library = join(scratch, 'rust-asan.so');
  const whole = ['-Wl,--whole-archive', archive, '-Wl,--no-whole-archive'];
  run('cc', ['-shared', '-o', library, ...whole, '-lpthread', '-ldl', '-lm', '-lrt']);
  return library;
}

function instrumentedAddon(host) {
  const built = join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'asan');
  run('cargo', ['+nightly', 'build', '--locked', '--package', 'derp-node', '--target', host], {
    CARGO_TARGET_DIR: built,
    RUSTFLAGS: '-Zsanitizer=address',
  });
  return join(built, host, 'debug/libderp_node.so');
}

function replaceAddon(file) {
  rmSync(target, { force: true });
  if (existsSync(file)) copyFileSync(file, target);
}

/** Throws, unlike `run` of `ensure.mjs`, because the addon must be restored. */
function run(command, args, environment = {}) {
  const env = { ...process.env, ...environment };
  const { status } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], env });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed`);
}

function output(command, ...args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} failed; is a nightly toolchain installed?`);
  return stdout;
}
