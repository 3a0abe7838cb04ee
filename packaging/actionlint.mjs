/** Installs actionlint, which finds mistakes in workflows: a Go program, built once into the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from './cache.mjs';
import { makeOnce, whyNoGo } from './peers.mjs';

const VERSION = 'v1.7.12';

/** The path of actionlint. Throws with the reason if it cannot be built. */
export async function actionlint() {
  const finished = join(cacheDirectory(), 'actionlint', VERSION);
  const program = join(finished, process.platform === 'win32' ? 'actionlint.exe' : 'actionlint');
  if (existsSync(program)) return program;
  const missing = whyNoGo();
  if (missing) throw new Error(missing);
  process.stderr.write('derpkit: building actionlint; this takes a minute, once\n');
  await makeOnce(finished, async (directory) => {
    const env = { ...process.env, GOBIN: directory, GOFLAGS: '-mod=mod' };
    const args = ['install', '-trimpath', `github.com/rhysd/actionlint/cmd/actionlint@${VERSION}`];
    const { status, stderr } = spawnSync('go', args, { env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`actionlint cannot be built: ${stderr.trim()}`);
  });
  return program;
}
