/**
 * Runs the native lane of the conformance suite with AddressSanitizer in the addon: `node packaging/asan.mjs [spec…]`.
 * Needs Linux, `ar`, `cc` and a nightly toolchain. The addon that was there before is there again afterwards.
 *
 * Node has no AddressSanitizer, and Rust links its runtime into programs only. So the runtime that comes with the
 * toolchain is made a shared library, and is loaded before everything else.
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
  // What is slower here may come too late for a test; what AddressSanitizer finds ends the run all the same.
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  run(process.execPath, [vitest, 'run', '--project=conformance', '--retry=2', ...process.argv.slice(2)], {
    DERPKIT_LANES: 'native',
    LD_PRELOAD: runtime,
    // Node leaves to the system what it holds at its end. Vitest hides what a worker writes as it dies.
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

/** The runtime, but for the part that only a program can have. */
function sharedRuntime(host) {
  const libraries = join(output('rustc', '+nightly', '--print', 'sysroot').trim(), 'lib/rustlib', host, 'lib');
  const archive = join(scratch, 'asan.a');
  copyFileSync(join(libraries, 'librustc-nightly_rt.asan.a'), archive);
  run('ar', ['d', archive, 'asan_preinit.cpp.o']);
  // The runtime refuses to work where a library of its usual name is loaded, too.
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

/** Throws, unlike the one of `ensure.mjs`: there is something to be put back. */
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
