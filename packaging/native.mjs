/** What building the native plane needs, and where its parts lie. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root } from './ensure.mjs';

/** The first tool that is not there, or is too old; undefined if nothing is missing. */
export function missingToolchain() {
  const { status, stdout } = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (status !== 0) return 'Cargo';
  const [, needed] = /rust-version = "1\.(\d+)"/.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'));
  const [, major, minor] = /^cargo (\d+)\.(\d+)/.exec(stdout) ?? [];
  if (Number(major) === 1 && Number(minor) < Number(needed)) return `Rust 1.${needed}`;
  return spawnSync('cc', ['--version']).status === 0 ? undefined : 'a C compiler';
}

/** The name of this platform in those of packages and files, as `src/plane/targets.ts` has it. */
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

/** Where the addon and the load generator of a target are put: where their package has them, and the loader looks. */
export function places(target = targetName()) {
  const directory = join(root, 'npm', target);
  const program = target.startsWith('win32') ? 'derp-bench.exe' : 'derp-bench';
  return { directory, addon: join(directory, `derpkit.${target}.node`), generator: join(directory, program) };
}

/** Builds the addon with napi-rs's own tool. False if that fails, of which the tool has said why. */
export function buildAddon(target = targetName(), options = []) {
  const { directory, addon } = places(target);
  // A running process has the old file mapped, so that it must not be written into; and an old one must not be taken for new.
  rmSync(addon, { force: true });
  const napi = join(root, 'node_modules/@napi-rs/cli/dist/cli.js');
  const args = ['build', '--platform', '--release', '--no-js', '--manifest-path', 'crates/derp-node/Cargo.toml'];
  args.push('--package-json-path', 'package.json', '--output-dir', directory, '--target', tripleOf(target), ...options);
  // Cargo's own options come last.
  return ran(process.execPath, [napi, ...args, '--', '--locked']);
}

/** Builds the load generator; ends this process if that fails. It is made for the same target, of the same dependencies. */
export function ensureGenerator() {
  const target = targetName();
  const { generator } = places(target);
  const triple = tripleOf(target);
  const args = ['build', '--release', '--locked', '--package', 'derp-bench', '--target', triple];
  if (!ran('cargo', args)) fail(`cargo ${args.join(' ')} failed`);
  rmSync(generator, { force: true });
  const built = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  copyFileSync(join(built, triple, 'release', generator.endsWith('.exe') ? 'derp-bench.exe' : 'derp-bench'), generator);
}

function ran(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  return !error && status === 0;
}
