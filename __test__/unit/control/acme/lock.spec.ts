import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
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

/** The number of a process that has ended. */
function deadProcess(): number {
  return spawnSync(process.execPath, ['--version']).pid;
}

describe('a lock', () => {
  it('is had by one, and by the next when it is given back', async () => {
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

  it('says whose it is, to this user alone', async () => {
    const path = fresh();
    const release = await takeLock(path);
    expect(readFileSync(path, 'utf8')).toBe(`${hostname()} ${process.pid}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    await release?.();
  });

  it('of another host is respected for six minutes', async () => {
    expect(await takeLock(await left('elsewhere 1', 5))).toBeUndefined();
    const release = await takeLock(await left('elsewhere 1', 7));
    expect(release).toBeDefined();
    await release?.();
  });

  it('of another host is not judged by the processes of this one', async () => {
    expect(await takeLock(await left(`elsewhere ${deadProcess()}`))).toBeUndefined();
  });

  it('of a process that runs is respected', async () => {
    expect(await takeLock(await left(`${hostname()} ${process.ppid}`))).toBeUndefined();
    // Of another user's, too, which may not be signalled.
    expect(await takeLock(await left(`${hostname()} 1`))).toBeUndefined();
  });

  it.each([
    ['that has ended', () => `${hostname()} ${deadProcess()}`],
    ['that had the number of this one', () => `${hostname()} ${process.pid}`],
  ])('of a process %s is taken over', async (_name, text) => {
    const path = await left(text());
    const release = await takeLock(path);
    expect(release).toBeDefined();
    expect(readFileSync(path, 'utf8')).toBe(`${hostname()} ${process.pid}`);
    await release?.();
  });

  it.each(['', 'x', `${hostname()} x`, `${hostname()} -1`, `${hostname()} 12x`])(
    'that says nothing of its owner, %j, is respected while it is fresh',
    async (text) => {
      expect(await takeLock(await left(text))).toBeUndefined();
    },
  );

  it('that cannot be made is an error, and not held after it', async () => {
    const file = fresh();
    await (await takeLock(file))?.();
    writeFileSync(file, 'elsewhere 1');
    const below = join(file, 'lock');
    await expect(takeLock(below)).rejects.toThrow(/ENOTDIR|EEXIST/);
    await expect(takeLock(below)).rejects.toThrow(/ENOTDIR|EEXIST/);
  });
});
