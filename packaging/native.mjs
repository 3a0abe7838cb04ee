/** What building the native plane needs, and where its parts lie. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './ensure.mjs';

/** The first tool that is not there, or is too old; undefined if nothing is missing. */
export function missingToolchain() {
  const { status, stdout } = spawnSync('cargo', ['--version'], { encoding: 'utf8' });
  if (status !== 0) return 'Cargo';
  const [, needed] = /rust-version = "1\.(\d+)"/.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'));
  const [, major, minor] = /^cargo (\d+)\.(\d+)/.exec(stdout) ?? [];
  if (Number(major) === 1 && Number(minor) < Number(needed)) return `Rust 1.${needed}`;
  return spawnSync('cc', ['--version']).status === 0 ? undefined : 'a C compiler';
}

/** What Cargo makes of the addon and of the load generator, and their places: those that a published package has them in. */
export function places() {
  const { platform, arch } = process;
  const libc = process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
  const directory = join(root, 'npm', platform === 'linux' ? `linux-${arch}-${libc}` : `${platform}-${arch}`);
  const library = { darwin: 'libderp_node.dylib', win32: 'derp_node.dll' }[platform] ?? 'libderp_node.so';
  const built = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const program = platform === 'win32' ? 'derp-bench.exe' : 'derp-bench';
  const place = (made, name) => ({ made: join(built, 'release', made), directory, target: join(directory, name) });
  return { addon: place(library, 'derpkit.node'), generator: place(program, program) };
}

/** Builds the addon, and puts it where it is looked for. */
export function ensureAddon() {
  ensure('derp-node', places().addon);
}

/** The load generator. */
export function ensureGenerator() {
  ensure('derp-bench', places().generator);
}

function ensure(crate, { made, directory, target }) {
  run('cargo', ['build', '--release', '--locked', '--package', crate]);
  mkdirSync(directory, { recursive: true });
  // A running process has the old file mapped: it is replaced, not written into.
  rmSync(target, { force: true });
  copyFileSync(made, target);
}
