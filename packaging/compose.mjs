/** Builds the reader of compose files that compose itself has, around its own library. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cacheDirectory } from './cache.mjs';
import { root } from './ensure.mjs';
import { makeOnce } from './peers.mjs';

const MODULE = join(root, '__test__/install/go-compose');

/** The program, built now or found built: it takes compose files, and prints JSON. Needs Go. */
export async function buildComposeReader() {
  const hash = createHash('sha256').update(process.platform + process.arch);
  for (const name of ['go.mod', 'go.sum', 'main.go']) hash.update(readFileSync(join(MODULE, name)));
  const finished = join(cacheDirectory(), 'compose', hash.digest('hex').slice(0, 16));
  if (!existsSync(finished)) {
    await makeOnce(finished, async (directory) => {
      const args = ['build', '-trimpath', '-buildvcs=false', '-mod=readonly', '-o', join(directory, 'compose'), '.'];
      await promisify(execFile)('go', args, { cwd: MODULE });
    });
  }
  return join(finished, 'compose');
}
