/** The cache directory for tools that are built or installed once and serve every clone. */
import { homedir } from 'node:os';
import { join } from 'node:path';

export function cacheDirectory() {
  const { DERPKIT_CACHE, XDG_CACHE_HOME } = process.env;
  return DERPKIT_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'derpkit');
}
