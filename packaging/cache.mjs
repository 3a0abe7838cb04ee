/** The cache directory for tools that are built or installed once and serve every clone. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';

export function cacheDirectory() {
  const { DERPKIT_CACHE, XDG_CACHE_HOME } = process.env;
  return DERPKIT_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'derpkit');
}

/** Fills a directory, and renames it into place when it is complete. Returns the directory. */
export function makeOnceSync(finished, fill) {
  const unfinished = join(dirname(finished), `unfinished-${randomUUID()}`);
  mkdirSync(unfinished, { recursive: true });
  try {
    fill(unfinished);
    renameSync(unfinished, finished);
  } catch (error) {
    // Another process finished first, and its result is as good.
    if (!existsSync(finished)) throw error;
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return finished;
}
