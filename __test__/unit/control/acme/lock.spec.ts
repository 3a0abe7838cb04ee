import { spawnSync } from 'node:child_process';
import {
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { takeLock } from '../../../../src/control/acme/lock.js';
import { temporaryDirectory } from '../../temp.js';

const root = temporaryDirectory();
let count = 0;

/** Where a lock may be; its directory is not there yet. */
function fresh(): string {
  count += 1;
  return join(root, String(count), 'a.test+lock');
}

/** One that another relay has left: what is in it, and how many minutes ago. */
async function left(text: string, minutes = 0): Promise<string> {
  const path = fresh();
  await (await takeLock(path))?.();
  writeFileSync(path, text);
  const then = Date.now() / 1000 - minutes * 60;
  utimesSync(path, then, then);
  return path;
}

function isLinkTo(link: string, target: string): boolean {
  try {
    return readlinkSync(link) === target;
  } catch {
    // A file that has been closed meanwhile.
    return false;
  }
}

/** The number of a process that has ended. */
function deadProcess(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

describe('a lock', () => {
  it('a lock belongs to one holder, and to the next after its release', async () => {
    const path = fresh();
    const release = await takeLock(path);
    expect(release).toBeDefined();
    expect(await takeLock(path)).toBeUndefined();
    await release?.();
    expect(existsSync(path)).toBe(false);
    const again = await takeLock(path);
    expect(again).toBeDefined();
    await again?.();
  });

  it('a lock names its owner, and only this user can read it', async () => {
    const path = fresh();
    const release = await takeLock(path);
    expect(readFileSync(path, 'utf8')).toBe(`${hostname()} ${process.pid}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await release?.();
  });

  it('a lock whose file is gone is released all the same', async () => {
    const path = fresh();
    const release = await takeLock(path);
    rmSync(path);
    await release?.();
    const again = await takeLock(path);
    expect(again).toBeDefined();
    await again?.();
  });

  it.skipIf(!existsSync('/proc/self/fd'))('a lock that is held keeps no file open', async () => {
    const path = fresh();
    const release = await takeLock(path);
    const real = realpathSync(path);
    expect(readdirSync('/proc/self/fd').filter((fd) => isLinkTo(`/proc/self/fd/${fd}`, real))).toEqual([]);
    await release?.();
  });

  it('a lock is stale once it is older than six minutes', async () => {
    const path = await left('elsewhere 1');
    const made = 1_800_000_000;
    utimesSync(path, made, made);
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['Date'], now: (made + 6 * 60) * 1000 });
    expect(await takeLock(path)).toBeUndefined();
    vi.setSystemTime(Date.now() + 1);
    const release = await takeLock(path);
    expect(release).toBeDefined();
    await release?.();
  });

  it('a lock of another host counts for six minutes', async () => {
    expect(await takeLock(await left('elsewhere 1', 5))).toBeUndefined();
    const release = await takeLock(await left('elsewhere 1', 7));
    expect(release).toBeDefined();
    await release?.();
  });

  it('a lock of another host is not judged by the processes of this host', async () => {
    expect(await takeLock(await left(`elsewhere ${deadProcess()}`))).toBeUndefined();
  });

  it('a lock of a running process counts', async () => {
    expect(await takeLock(await left(`${hostname()} ${process.ppid}`))).toBeUndefined();
    // Of another user's, too, which may not be signalled.
    expect(await takeLock(await left(`${hostname()} 1`))).toBeUndefined();
  });

  it.each([
    ['that has ended', () => `${hostname()} ${deadProcess()}`],
    ['that had the number of this one', () => `${hostname()} ${process.pid}`],
  ])('a lock of a process %s is taken over', async (_name, text) => {
    const path = await left(text());
    const release = await takeLock(path);
    expect(release).toBeDefined();
    expect(readFileSync(path, 'utf8')).toBe(`${hostname()} ${process.pid}`);
    await release?.();
  });

  it.each(['', 'x', `${hostname()} x`, `${hostname()} -1`, `${hostname()} 12x`, `${hostname()} x12`])(
    'a lock without an owner, %j, counts while it is fresh',
    async (text) => {
      expect(await takeLock(await left(text))).toBeUndefined();
    },
  );

  it('a lock that cannot be made is an error, and is not held', async () => {
    const file = fresh();
    await (await takeLock(file))?.();
    writeFileSync(file, 'elsewhere 1');
    const below = join(file, 'lock');
    await expect(takeLock(below)).rejects.toThrow(/ENOTDIR|EEXIST/);
    await expect(takeLock(below)).rejects.toThrow(/ENOTDIR|EEXIST/);
    // Where no file can be made, as in a directory of the kernel, there is none of another relay either.
    await expect(takeLock('/proc/derpkit+lock')).rejects.toThrow();
  });
});
