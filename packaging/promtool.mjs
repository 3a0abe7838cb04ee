/** Fetches promtool, which checks metrics, alert rules and their tests: from Debian's package of Prometheus, once, into the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { copyFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cacheDirectory } from './cache.mjs';
import { makeOnce } from './peers.mjs';

/** The path of promtool. Throws with the reason if it cannot be had. */
export async function promtool() {
  const finished = join(cacheDirectory(), 'promtool');
  const program = join(finished, 'promtool');
  if (existsSync(program)) return program;
  const missing = ['apt-get', 'dpkg-deb'].find((tool) => spawnSync(tool, ['--version']).error);
  if (missing) throw new Error(`${missing} is not installed, which promtool is fetched with`);
  process.stderr.write('derpkit: fetching promtool; this takes a minute, once\n');
  await makeOnce(finished, async (directory) => {
    // The package, and not its dependencies: promtool needs none of them. apt checks its signature.
    needs('apt-get', ['-qq', 'download', 'prometheus'], directory);
    const [deb] = readdirSync(directory).filter((name) => name.endsWith('.deb'));
    needs('dpkg-deb', ['-x', `${deb}`, 'package'], directory);
    await copyFile(join(directory, 'package/usr/bin/promtool'), join(directory, 'promtool'));
    await rm(join(directory, 'package'), { recursive: true });
    await rm(join(directory, `${deb}`));
  });
  return program;
}

function needs(command, args, cwd) {
  const { status, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`promtool cannot be fetched: ${command}: ${error?.message ?? stderr.trim()}`);
}
