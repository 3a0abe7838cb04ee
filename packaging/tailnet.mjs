/**
 * Builds headscale and tailscaled for a private tailnet. The first build takes minutes (headscale ten), so only `npm
 * run test:long` builds them; other runs use them if they are built. They lie beside the other peers.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { appendFile, chmod, cp, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache.mjs';
import { goBuild, goEnvironment, makeOnce, whyNoGo } from './peers.mjs';

const run = promisify(execFile);
const MODULES = fileURLToPath(new URL('../__test__/interop/', import.meta.url));

const TAILSCALE = 'tailscale.com';
/**
 * tailscaled without its userspace network stack, whose modules are not all available, refuses to run without a device.
 * This patch removes the refusal.
 */
const REFUSAL = { file: 'cmd/tailscaled/tailscaled.go', text: 'if onlyNetstack && !buildfeatures.HasNetstack {' };

/** The binaries; `undefined` if they are not built. */
export function builtTailnet() {
  const finished = place();
  if (!existsSync(finished)) return undefined;
  return { headscale: join(finished, 'headscale'), tailscaled: join(finished, 'tailscaled') };
}

/** Builds the binaries, unless they are built. */
export async function buildTailnet() {
  const missing = whyNoGo();
  if (missing) throw new Error(missing);
  if (!builtTailnet()) {
    process.stderr.write('derpkit: building headscale and tailscaled; this takes ten minutes or more, once\n');
    await makeOnce(place(), async (directory) => {
      await buildHeadscale(directory);
      await buildTailscaled(directory);
    });
  }
  return builtTailnet();
}

function buildHeadscale(directory) {
  return build('go-headscale', 'ts_omit_ssh', 'github.com/juanfont/headscale/cmd/headscale', directory);
}

async function buildTailscaled(directory) {
  const module = join(MODULES, 'go-tailscaled');
  const env = goEnvironment(module);
  const { stdout } = await run('go', ['mod', 'download', '-json', TAILSCALE], { cwd: module, env });
  const work = join(directory, 'work');
  await cp(module, work, { recursive: true });
  const copy = join(work, 'tailscale');
  await cp(JSON.parse(stdout).Dir, copy, { recursive: true });
  const patched = join(copy, REFUSAL.file);
  // Files of the module cache are read-only.
  await chmod(patched, 0o644);
  const text = await readFile(patched, 'utf8');
  if (!text.includes(REFUSAL.text)) throw new Error(`${patched} is not what it was: ${REFUSAL.text} is not in it`);
  await writeFile(patched, text.replace(REFUSAL.text, 'if false {'));
  await appendFile(join(work, 'go.mod'), `\nreplace ${TAILSCALE} => ./tailscale\n`);
  const tags = 'ts_omit_netstack,ts_omit_gro,ts_omit_tap,ts_omit_ssh';
  await build(work, tags, 'tailscale.com/cmd/tailscaled', directory, '-mod=mod');
  await run('chmod', ['-R', 'u+w', work]);
  await run('rm', ['-r', work]);
}

function build(module, tags, path, directory, flags = '-mod=readonly') {
  const cwd = existsSync(module) ? module : join(MODULES, module);
  return goBuild({ path, tags }, directory, cwd, { ...goEnvironment(cwd), GOFLAGS: flags });
}

/** The directory of the binaries, named after their inputs. */
function place() {
  const hash = createHash('sha256').update(process.platform + process.arch);
  for (const name of ['go-headscale', 'go-tailscaled']) {
    for (const file of readdirSync(join(MODULES, name)).sort()) hash.update(readFileSync(join(MODULES, name, file)));
  }
  hash.update(JSON.stringify(REFUSAL));
  return join(cacheDirectory(), 'peers', `tailnet-${hash.digest('hex').slice(0, 16)}`);
}
