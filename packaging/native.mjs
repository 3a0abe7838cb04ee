/** The tools that building the native plane needs, and the paths of its results. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { keepAddon, keptAddon, takeAddon } from './built-addons.mjs';
import { fail, root, say } from './ensure.mjs';

/** The oldest glibc that Node itself supports on Linux, so that the addon asks for no newer one. */
const OLDEST_GLIBC = '2.28';

/** The first missing or outdated tool; undefined if everything is there. */
export function missingToolchain() {
  const { status, stdout } = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (status !== 0) return 'Cargo';
  const [, needed] = /rust-version = "1\.(\d+)"/.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'));
  const [, major, minor] = /^cargo (\d+)\.(\d+)/.exec(stdout) ?? [];
  if (Number(major) === 1 && Number(minor) < Number(needed)) return `Rust 1.${needed}`;
  return spawnSync('cc', ['--version']).status === 0 ? undefined : 'a C compiler';
}

/** The name of this platform in packages and files, as in `src/plane/targets.ts`. */
export function targetName() {
  const { platform, arch } = process;
  const libc = process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
  return platform === 'linux' ? `linux-${arch}-${libc}` : `${platform}-${arch}`;
}

/** The Rust triple of a target. */
export function tripleOf(target) {
  const [platform, arch, libc] = target.split('-');
  const cpu = { x64: 'x86_64', arm64: 'aarch64' }[arch] ?? arch;
  const system = { linux: `unknown-linux-${libc}`, darwin: 'apple-darwin', win32: 'pc-windows-msvc' }[platform];
  return `${cpu}-${system ?? platform}`;
}

/** The paths of a target's addon and load generator, where the package has them and the loader looks. */
export function places(target = targetName()) {
  const directory = join(root, 'npm', target);
  const program = target.startsWith('win32') ? 'derp-bench.exe' : 'derp-bench';
  return { directory, addon: join(directory, `derpkit.${target}.node`), generator: join(directory, program) };
}

/**
 * Builds the addon with napi-rs's tool. False if that fails; the tool has printed why. `zig` is the environment from
 * `zig.mjs`: it builds for the oldest systems, and for other systems than this one.
 */
export function buildAddon(target = targetName(), { zig } = {}) {
  const { directory, addon } = places(target);
  const kept = keptAddon(target, zig ? 'zig' : 'native');
  if (takeAddon(kept, addon)) {
    say('the native plane was compiled from these sources before; it is taken from the cache');
    return true;
  }
  say('compiling the native plane: about four minutes on two cores the first time, seconds after that');
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  // Aside: relays can start with the old addon meanwhile. A running process has it mapped, so it must not be overwritten.
  const aside = mkdtempSync(join(directory, 'unfinished-'));
  const args = ['build', '--platform', '--release', '--no-js', '--manifest-path', 'crates/derp-node/Cargo.toml'];
  args.push('--package-json-path', 'package.json', '--output-dir', aside, '--target');
  args.push(...(zig ? [oldestOf(target), '--cross-compile'] : [tripleOf(target)]));
  // Cargo's own options come last.
  const built = ran(process.execPath, [napi, ...args, '--', '--locked'], zig);
  if (built) {
    for (const name of readdirSync(aside)) renameSync(join(aside, name), join(directory, name));
    keepAddon(addon, kept);
  }
  // An addon of other sources may not understand the JavaScript of these.
  else rmSync(addon, { force: true });
  rmSync(aside, { recursive: true });
  return built;
}

/** Builds the load generator for the addon's target and with its dependencies. Ends this process if that fails. */
export function ensureGenerator(target = targetName(), { zig } = {}) {
  const { generator } = places(target);
  const triple = tripleOf(target);
  const options = ['--release', '--locked', '--package', 'derp-bench', '--target'];
  const args = zig ? ['zigbuild', ...options, oldestOf(target)] : ['build', ...options, triple];
  // napi-rs's tool uses these flags for the addon, too.
  const flags = triple.endsWith('musl') ? { RUSTFLAGS: '-C target-feature=-crt-static' } : {};
  if (!ran('cargo', args, { ...(zig ?? process.env), ...flags })) fail(`cargo ${args.join(' ')} failed`);
  rmSync(generator, { force: true });
  const built = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  copyFileSync(join(built, triple, 'release', generator.endsWith('.exe') ? 'derp-bench.exe' : 'derp-bench'), generator);
}

/** The triple with the oldest C library of a release, as zig spells it. */
function oldestOf(target) {
  return target.endsWith('gnu') ? `${tripleOf(target)}.${OLDEST_GLIBC}` : tripleOf(target);
}

function ran(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2], env });
  return !error && status === 0;
}
