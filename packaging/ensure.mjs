/** Prepares a clone to run: installs dependencies and builds sources, unless both are up to date. */
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
  // npm writes this inner lock file last, so its time is that of the last complete installation.
  if (changed(join(root, 'node_modules/.package-lock.json')) >= changed(join(root, 'package-lock.json'))) return;
  say('installing dependencies: half a minute the first time');
  // Errors alone: a package of the tools that a relay does not need asks for a later Node, which npm warns of at length.
  run('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error']);
}

/** Builds the sources if they changed. Returns whether it built. */
export function ensureBuilt() {
  const sources = [
    ...['src', 'crates'].flatMap((directory) => files(join(root, directory))),
    ...['tsconfig.json', 'package.json', 'Cargo.toml', 'Cargo.lock'].map((name) => join(root, name)),
  ];
  if (changed(join(root, 'dist/.built')) > Math.max(...sources.map(changed))) return false;
  say('building');
  // The build has printed its own errors.
  const { status } = spawnSync(process.execPath, [join(root, 'packaging/build.mjs')], { stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(1);
  return true;
}

/** Runs a command in the clone with its output on standard error. Ends this process if it fails. */
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
