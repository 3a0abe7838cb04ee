/**
 * Builds the real peers: Tailscale's `derper` and `derpprobe`, and `interop`, our scenarios around Tailscale's client.
 * The binaries lie outside the clone, and are built again only if their inputs changed.
 */
import { execFile, spawnSync } from 'node:child_process';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache.mjs';

const run = promisify(execFile);

const MODULE = fileURLToPath(new URL('../__test__/interop/go/', import.meta.url));

/** The programs with their build tags. `derper` has none, as users build it. */
const PROGRAMS = [
  { name: 'derper', path: 'tailscale.com/cmd/derper', tags: '' },
  // Omits the userspace network stack, which the prober links and never uses.
  { name: 'derpprobe', path: 'tailscale.com/cmd/derpprobe', tags: 'ts_omit_netstack,ts_omit_gro' },
  // Allows the client to use a WebSocket, as it does in browsers.
  { name: 'interop', path: '.', tags: 'ts_debug_websockets' },
];

/** Why the peers cannot be built here, or `undefined` if they can. */
export function whyNoGo() {
  const { error, status, stderr } = spawnSync('go', ['env', 'GOVERSION'], { cwd: MODULE, env: goEnvironment() });
  if (error) return `Go cannot be run (${error.message}); the real clients are built with it: https://go.dev/dl`;
  return status === 0 ? undefined : `Go does not work here: ${stderr.toString().trim()}`;
}

/** Builds the peers, unless they are built. Any number of processes may call it at once. */
export async function buildPeers() {
  const missing = whyNoGo();
  if (missing) throw new Error(missing);
  const finished = join(cacheDirectory(), 'peers', fingerprint());
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: building the real peers; this takes a minute or two, once\n');
    await makeOnce(finished, async (unfinished) => {
      for (const program of PROGRAMS) await goBuild(program, unfinished, MODULE, goEnvironment());
    });
  }
  const binary = (name) => join(finished, name + (process.platform === 'win32' ? '.exe' : ''));
  return { derper: binary('derper'), derpprobe: binary('derpprobe'), interop: binary('interop') };
}

/** Let's Encrypt's small ACME server for tests, and its DNS server. */
const PEBBLE = { module: 'github.com/letsencrypt/pebble/v2', version: 'v2.10.3' };

/**
 * Builds pebble and its DNS server, unless they are built. Uses the installed toolchain, because pebble needs no newer
 * one.
 */
export async function buildPebble() {
  const { status, stdout, error } = spawnSync('go', ['env', 'GOVERSION', 'GOOS', 'GOARCH']);
  if (status !== 0) throw new Error(`Go cannot be run (${error?.message}); https://go.dev/dl`);
  const hash = createHash('sha256').update(stdout).update(JSON.stringify(PEBBLE)).digest('hex');
  const finished = join(cacheDirectory(), 'pebble', hash.slice(0, 16));
  if (!existsSync(finished)) {
    process.stderr.write('derpkit: building pebble; this takes a minute or two, once\n');
    await makeOnce(finished, async (directory) => {
      const programs = ['pebble', 'pebble-challtestsrv'].map(
        (name) => `${PEBBLE.module}/cmd/${name}@${PEBBLE.version}`,
      );
      const env = { ...process.env, GOBIN: directory, GOFLAGS: '-mod=mod' };
      await run('go', ['install', '-trimpath', '-ldflags=-s -w', ...programs], { cwd: directory, env });
    });
  }
  return { pebble: join(finished, 'pebble'), dns: join(finished, 'pebble-challtestsrv') };
}

/** Fills a directory, and renames it into place when it is complete. */
export async function makeOnce(finished, fill) {
  const unfinished = join(dirname(finished), `unfinished-${randomUUID()}`);
  await mkdir(unfinished, { recursive: true });
  try {
    await fill(unfinished);
    // If another process finished first, its equal result stays and this one is deleted.
    await rename(unfinished, finished).catch((error) => {
      if (!existsSync(finished)) throw error;
    });
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

/** Builds a program of the Go module in `cwd` into a directory. */
export async function goBuild({ path, tags }, directory, cwd, env) {
  const args = [
    'build',
    '-trimpath',
    '-buildvcs=false',
    '-ldflags=-s -w',
    `-tags=${tags}`,
    '-o',
    `${directory}/`,
    path,
  ];
  try {
    await run('go', args, { cwd, env, maxBuffer: 1 << 26 });
  } catch (error) {
    throw new Error(`go ${args.join(' ')} failed:\n${error.stderr}`, { cause: error });
  }
}

/**
 * The environment of Go: the toolchain that the module's go.mod names, downloaded if necessary, and no changes of
 * go.mod or go.sum.
 */
export function goEnvironment(module = MODULE) {
  const version = /^go (\S+)$/m.exec(readFileSync(join(module, 'go.mod'), 'utf8'))?.[1];
  return { ...process.env, GOTOOLCHAIN: `go${version}`, GOFLAGS: '-mod=readonly' };
}

/** A hash over everything that the binaries are built from. */
function fingerprint() {
  const hash = createHash('sha256');
  const toolchain = spawnSync('go', ['env', 'GOVERSION', 'GOOS', 'GOARCH'], { cwd: MODULE, env: goEnvironment() });
  hash.update(toolchain.stdout).update(JSON.stringify(PROGRAMS));
  const files = readdirSync(MODULE, { recursive: true, encoding: 'utf8' }).filter((f) =>
    /\.go$|^go\.(mod|sum)$/.test(f),
  );
  for (const file of files.sort()) hash.update(`\0${file}\0`).update(readFileSync(join(MODULE, file)));
  return hash.digest('hex').slice(0, 16);
}
