/** A lock file: it exists while one of the relays that share a directory works on a name. */
import { open, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { makeParent, readIfThere } from '../files.js';

/** Milliseconds after which a lock is stale. An order takes five minutes at most. */
const STALE = 6 * 60 * 1000;

/** The locks that this process holds. */
const held = new Set<string>();

/**
 * Takes a lock. Resolves with a function that releases it, or with `undefined` while another relay holds it. Rejects if
 * the file cannot be made.
 */
export async function takeLock(path: string): Promise<(() => Promise<void>) | undefined> {
  if (held.has(path)) return undefined;
  held.add(path);
  let taken = false;
  try {
    await makeParent(path);
    taken = await make(path);
    if (!taken && (await isStale(path))) {
      await rm(path, { force: true });
      taken = await make(path);
    }
  } finally {
    if (!taken) held.delete(path);
  }
  if (!taken) return undefined;
  return async () => {
    await rm(path, { force: true });
    held.delete(path);
  };
}

async function make(path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o600);
    try {
      await file.writeFile(`${hostname()} ${process.pid}`).finally(() => file.close());
    } catch (error) {
      // A full disk: a lock without an owner would hold every relay up until it is old.
      await rm(path, { force: true });
      throw error;
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Whether the owner has ended without releasing the lock. */
async function isStale(path: string): Promise<boolean> {
  const made = await stat(path).catch(() => undefined);
  const [host, pid] = ((await readIfThere(path)) ?? '').split(' ');
  const isOld = !made || Date.now() - made.mtimeMs > STALE;
  const isDead = host === hostname() && /^\d+$/.test(pid ?? '') && !isRunning(Number(pid));
  return isOld || isDead;
}

/**
 * Whether the process runs. A lock with this process's id that this process does not hold belonged to an earlier
 * process.
 */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
