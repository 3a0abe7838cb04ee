/** A file that is there while one relay, of those that share a directory, does something. */
import { open, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { makeParent, readIfThere } from '../files.js';

/** An order takes five minutes at most, so a lock that is older was left behind, in milliseconds. */
const STALE = 6 * 60 * 1000;

/** The locks of this process. */
const held = new Set<string>();

/** Resolves with what gives the lock back, or with `undefined` while another relay has it. Rejects where it cannot be made. */
export async function takeLock(path: string): Promise<(() => Promise<void>) | undefined> {
  if (held.has(path)) return undefined;
  held.add(path);
  let taken = false;
  try {
    await makeParent(path);
    // The second time, one that was left behind is out of the way.
    taken = (await make(path)) || ((await isStale(path)) && (await make(path)));
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
      // A full disk: a lock without an owner would hold everybody up until it is old.
      await rm(path, { force: true });
      throw error;
    }
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
}

/** Whether its owner has ended without giving it back; then it is taken away. */
async function isStale(path: string): Promise<boolean> {
  const made = await stat(path).catch(() => undefined);
  const [host, pid] = ((await readIfThere(path)) ?? '').split(' ');
  const isOld = !made || Date.now() - made.mtimeMs > STALE;
  const isDead = host === hostname() && /^\d+$/.test(pid ?? '') && !isRunning(Number(pid));
  if (!isOld && !isDead) return false;
  await rm(path, { force: true });
  return true;
}

/** This process has none of the locks that it does not know of: one with its number was another process's. */
function isRunning(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
