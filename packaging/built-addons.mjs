/**
 * Keeps compiled addons by a hash of their sources: another clone, or this one at another path, takes a kept addon
 * instead of compiling for minutes. Cargo itself compiles again for each path.
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

/** Most addons to keep; each has about twenty megabytes. */
const MOST = 8;
/** The crates of the addon. */
const CRATES = ['derp-net', 'derp-node', 'derp-proto', 'derp-tls'];

/** The place of the addon for a target. `options` distinguish different builds. */
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

/** Copies a kept addon. False if there is none. */
export function takeAddon(kept, addon) {
  if (!existsSync(kept)) return false;
  replaceBy(kept, addon);
  const now = new Date();
  utimesSync(kept, now, now);
  return true;
}

/** Keeps an addon, and deletes the least recently used ones beyond the limit. */
export function keepAddon(addon, kept) {
  const directory = join(kept, '..');
  mkdirSync(directory, { recursive: true });
  replaceBy(addon, kept);
  const all = readdirSync(directory).map((name) => join(directory, name));
  const dated = all.map((path) => ({ path, used: statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0 }));
  for (const { path } of dated.sort((a, b) => b.used - a.used).slice(MOST)) rmSync(path, { force: true });
}

/** Copies a file to a place where there may be an older one, which stays whole until the new one is. */
function replaceBy(file, place) {
  const unfinished = join(place, '..', `unfinished-${randomUUID()}.node`);
  copyFileSync(file, unfinished);
  renameSync(unfinished, place);
}

/** Sorted, so that the order is equal in each clone. */
function filesIn(directory) {
  return readdirSync(join(root, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1))
    .filter((file) => !/\/(?:tests|benches|target)\//.test(file))
    .sort();
}
