/** What building the native plane needs, and where its parts lie. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { root } from './ensure.mjs';

/** The first tool that is not there; undefined if nothing is missing. */
export function missingToolchain() {
  return ['cargo', 'cc'].find((tool) => spawnSync(tool, ['--version']).status !== 0);
}

/** The library that Cargo makes, and the addon's place: the same that a published package has it in. */
export function addonFile() {
  const { platform, arch } = process;
  const libc = process.report.getReport().header.glibcVersionRuntime ? 'gnu' : 'musl';
  const directory = join(root, 'npm', platform === 'linux' ? `linux-${arch}-${libc}` : `${platform}-${arch}`);
  const library = { darwin: 'libderp_node.dylib', win32: 'derp_node.dll' }[platform] ?? 'libderp_node.so';
  const built = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  return { directory, target: join(directory, 'derpkit.node'), library: join(built, 'release', library) };
}
