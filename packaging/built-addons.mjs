/**
 * Addons that were compiled, by what they are made of: another clone of the sources, or this one at another path, takes what
 * is there instead of compiling for minutes. Cargo itself compiles once for each path.
 */
import { spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from './cache.mjs';
import { root } from './ensure.mjs';

/** Each has some twenty megabytes. */
const MOST = 8;
/** The crates that the addon is made of. */
const CRATES = ['derp-net', 'derp-node', 'derp-proto', 'derp-tls'];

/** Where the addon for a target is kept; `options` tell apart what is built otherwise. */
export function keptAddon(target, options) {
  const hash = createHash('sha256').update(JSON.stringify([target, options]));
  hash.update(spawnSync('rustc', ['-vV'], { cwd: root }).stdout ?? '');
  for (const name of ['RUSTFLAGS', 'CARGO_BUILD_RUSTFLAGS', 'CC', 'CFLAGS'])
    hash.update(`\0${process.env[name] ?? ''}`);
  const sources = CRATES.flatMap((crate) => filesIn(join('crates', crate)));
  for (const file of ['Cargo.toml', 'Cargo.lock', 'package-lock.json', ...sources]) {
    hash.update(`\0${file}\0`).update(readFileSync(join(root, file)));
  }
  return join(cacheDirectory(), 'addons', `${hash.digest('hex').slice(0, 32)}.node`);
}

/** Takes the addon if it is kept. */
export function takeAddon(kept, addon) {
  if (!existsSync(kept)) return false;
  copyFileSync(kept, addon);
  const now = new Date();
  utimesSync(kept, now, now);
  return true;
}

/** Keeps an addon, and of all of them the ones used last. */
export function keepAddon(addon, kept) {
  const directory = join(kept, '..');
  mkdirSync(directory, { recursive: true });
  const unfinished = join(directory, `unfinished-${randomUUID()}`);
  copyFileSync(addon, unfinished);
  renameSync(unfinished, kept);
  const all = readdirSync(directory).map((name) => join(directory, name));
  const dated = all.map((path) => ({ path, used: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }));
  for (const { path } of dated.sort((a, b) => b.used - a.used).slice(MOST)) rmSync(path, { force: true });
}

/** Sorted, so that each clone has one order. */
function filesIn(directory) {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((file) => !/\/(?:tests|benches|target)\//.test(file))
    .sort();
}
