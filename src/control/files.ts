import { randomBytes } from 'node:crypto';
import { fsync } from 'node:fs';
import { chown, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';

const sync = promisify(fsync);

/** Replaces a file atomically: after a crash, it has its old or its new contents. */
export async function writeFileAtomic(path: string, data: string, mode: number): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', mode);
    try {
      await file.writeFile(data);
      // Under Yarn's Plug'n'Play, file handles have no `sync()`.
      await sync(file.fd);
    } finally {
      await file.close();
    }
    await keepOwner(path, temporary);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** The mode of directories for keys: access for this user alone, whatever the umask says. */
const PRIVATE = 0o700;
/** The permission bits that let group or others write. */
const WRITABLE = 0o022;

/** A file of another user that root replaces keeps its owner. */
async function keepOwner(path: string, temporary: string): Promise<void> {
  const [old, made] = await Promise.all([stat(path).catch(() => undefined), stat(temporary)]);
  // Without need it is not called: a sandbox may end the process for it.
  if (!old || (old.uid === made.uid && old.gid === made.gid)) return;
  await chown(temporary, old.uid, old.gid).catch(() => undefined);
}

/** Makes the directory of `path`, and missing ones above it, for this user alone. */
export async function makeParent(path: string): Promise<void> {
  await makeDirectory(dirname(path));
}

/** The directories, with their modes, that other users may write to, and so replace the keys in them. */
export async function writableByOthers(directories: readonly string[]): Promise<{ path: string; mode: string }[]> {
  const looked = [...new Set(directories)].map(async (path) => {
    const found = await stat(path).catch(() => undefined);
    return { path, bits: found ? found.mode & 0o777 : 0 };
  });
  const wide = (await Promise.all(looked)).filter(({ bits }) => (bits & WRITABLE) !== 0);
  return wide.map(({ path, bits }) => ({ path, mode: `0${bits.toString(8)}` }));
}

/**
 * Makes a directory and its parents. In Node 20, a recursive `mkdir` never returns if the system keeps answering
 * ENOENT, as below /proc.
 */
async function makeDirectory(path: string): Promise<void> {
  const failure = await mkdir(path, PRIVATE).catch((error: NodeJS.ErrnoException) => error);
  if (typeof failure !== 'object' || failure.code === 'EEXIST') return;
  if (failure.code !== 'ENOENT' || dirname(path) === path) throw failure;
  await makeDirectory(dirname(path));
  await mkdir(path, PRIVATE).catch((error: NodeJS.ErrnoException) => {
    // Another process may have made it meanwhile.
    if (error.code !== 'EEXIST') throw error;
  });
}

/** The file's text; `undefined` if there is no such file. */
export async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}
