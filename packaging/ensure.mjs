/** Brings a clone to where it can run: dependencies installed, sources built. Does nothing where that is already so. */
import { spawnSync } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));

const NEEDED = [20, 17];

export function ensureInstalled() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major < NEEDED[0] || (major === NEEDED[0] && minor < NEEDED[1])) {
    fail(`Node ${NEEDED.join('.')} or newer is needed; this is ${process.versions.node}.`);
  }
  // npm writes the inner lock file last, so it is as new as the last whole installation.
  if (changed(join(root, 'node_modules/.package-lock.json')) >= changed(join(root, 'package-lock.json'))) return;
  say('installing dependencies: half a minute the first time');
  run('npm', ['ci', '--no-audit', '--no-fund']);
}

/** True if there was something to build. */
export function ensureBuilt() {
  const sources = [
    ...['src', 'crates'].flatMap((directory) => files(join(root, directory))),
    ...['tsconfig.json', 'package.json', 'Cargo.toml', 'Cargo.lock'].map((name) => join(root, name)),
  ];
  if (changed(join(root, 'dist/.built')) > Math.max(...sources.map(changed))) return false;
  say('building');
  // What went wrong there has been said.
  const { status } = spawnSync(process.execPath, [join(root, 'packaging/build.mjs')], { stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(1);
  return true;
}

/** Runs a command in the clone, its output on standard error; ends this process if it fails. */
export function run(command, args) {
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (error) fail(`${command} cannot be run: ${error.message}`);
  if (status !== 0) fail(`${command} ${args.join(' ')} failed`);
}

export function say(text) {
  process.stderr.write(`derpkit: ${text}\n`);
}

export function fail(text) {
  say(text);
  process.exit(1);
}

function changed(path) {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function files(directory) {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}
