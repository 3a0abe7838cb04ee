import { chmodSync, chownSync, fsync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import * as fs from 'node:fs/promises';
import { join } from 'node:path';
import { isMainThread } from 'node:worker_threads';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { makeParent, readIfThere, writableByOthers, writeFileAtomic } from '../../../src/control/files.js';
import { descriptorsOf } from '../../helpers/leaks.js';
import { temporaryDirectory } from '../temp.js';

// Spied upon, and otherwise itself.
vi.mock('node:fs', { spy: true });
vi.mock('node:fs/promises', { spy: true });

const root = temporaryDirectory();
let count = 0;

afterEach(() => {
  vi.resetAllMocks();
});

function fresh(): string {
  const directory = join(root, String(count++));
  mkdirSync(directory);
  return directory;
}

describe('writeFileAtomic', () => {
  it('writeFileAtomic makes a file with its mode, and no other file', async () => {
    const directory = fresh();
    await writeFileAtomic(join(directory, 'key'), 'secret', 0o600);
    expect(readdirSync(directory)).toEqual(['key']);
    expect(readFileSync(join(directory, 'key'), 'utf8')).toBe('secret');
    expect(statSync(join(directory, 'key')).mode & 0o777).toBe(0o600);
  });

  it('writeFileAtomic replaces a file and its mode', async () => {
    const path = join(fresh(), 'key');
    writeFileSync(path, 'old and longer', { mode: 0o644 });
    await writeFileAtomic(path, 'new', 0o600);
    expect(readFileSync(path, 'utf8')).toBe('new');
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it('writeFileAtomic has all data on disk before the file gets its name', async () => {
    const path = join(fresh(), 'key');
    writeFileSync(path, 'old');
    const steps: string[] = [];
    const opened = new Map<number, string>();
    const real = await vi.importActual<typeof fs>('node:fs/promises');
    vi.mocked(fs.open).mockImplementation(async (...args) => {
      const file = await real.open(...args);
      steps.push(`open ${args[1]} ${(args[2] as number).toString(8)}`);
      opened.set(file.fd, args[0] as string);
      return file;
    });
    vi.mocked(fsync).mockImplementation((descriptor, done) => {
      steps.push(`sync ${readFileSync(opened.get(descriptor) as string, 'utf8')}`);
      done(null);
    });
    vi.mocked(fs.rename).mockImplementation(async (from, to) => {
      steps.push(`rename over ${readFileSync(to as string, 'utf8')}`);
      await real.rename(from, to);
    });
    await writeFileAtomic(path, 'new', 0o600);
    expect(steps).toEqual(['open wx 600', 'sync new', 'rename over old']);
  });

  it('a failed writeFileAtomic leaves the old file, and no other', async () => {
    const directory = fresh();
    const path = join(directory, 'key');
    writeFileSync(path, 'old');
    vi.mocked(fs.rename).mockRejectedValueOnce(new Error('no room'));
    await expect(writeFileAtomic(path, 'new', 0o600)).rejects.toThrow('no room');
    expect(readdirSync(directory)).toEqual(['key']);
    expect(readFileSync(path, 'utf8')).toBe('old');
  });

  it('writeFileAtomic reports a missing directory', async () => {
    await expect(writeFileAtomic(join(root, 'nowhere', 'key'), 'x', 0o600)).rejects.toThrow(/ENOENT/);
    // And not that there is no file to be removed.
    const failure = { code: 'ENOENT', syscall: 'open' };
    await expect(writeFileAtomic(join(root, 'nowhere', 'key'), 'x', 0o600)).rejects.toMatchObject(failure);
  });

  it('writeFileAtomic leaves no file open', async () => {
    const path = join(fresh(), 'key');
    await writeFileAtomic(path, 'new', 0o600);
    expect(descriptorsOf(path)).toBe(0);
  });

  it.skipIf(process.getuid?.() !== 0).each([
    ['user', 1234, 0],
    ['group', 0, 1234],
    ['user and group', 1234, 4321],
  ])('a file of another %s that root replaces keeps its owner', async (_what, uid, gid) => {
    const path = join(fresh(), 'key');
    writeFileSync(path, 'old');
    chownSync(path, uid, gid);
    await writeFileAtomic(path, 'new', 0o600);
    expect(statSync(path)).toMatchObject({ uid, gid });
    expect(readFileSync(path, 'utf8')).toBe('new');
  });

  it('writeFileAtomic replaces a file whose owner it cannot keep', async () => {
    const path = join(fresh(), 'key');
    writeFileSync(path, 'old');
    vi.mocked(fs.chown).mockRejectedValueOnce(Object.assign(new Error('not permitted'), { code: 'EPERM' }));
    await writeFileAtomic(path, 'new', 0o600);
    expect(readFileSync(path, 'utf8')).toBe('new');
  });
});

describe('makeParent', () => {
  it('several calls of makeParent may run at once', async () => {
    const path = join(fresh(), 'a', 'b', 'key');
    await Promise.all([makeParent(path), makeParent(path), makeParent(path)]);
    expect(statSync(join(path, '..')).isDirectory()).toBe(true);
  });

  it('makeParent reports why a directory cannot be made', async () => {
    const path = join(fresh(), 'file');
    writeFileSync(path, '');
    await expect(makeParent(join(path, 'a', 'b', 'key'))).rejects.toThrow(/ENOTDIR/);
    const failure = { code: 'ENOTDIR', path: join(path, 'a', 'b') };
    await expect(makeParent(join(path, 'a', 'b', 'key'))).rejects.toMatchObject(failure);
  });

  it('makeParent reports a directory that the system does not let it make', async () => {
    // No user can make one there, whatever its rights.
    await expect(makeParent('/proc/none/key')).rejects.toMatchObject({ code: 'ENOENT', path: '/proc/none' });
  });

  it('makeParent ends where even the topmost directory is missing, as for a working directory that was removed', async () => {
    vi.mocked(fs.mkdir).mockRejectedValue(Object.assign(new Error('missing'), { code: 'ENOENT' }));
    await expect(makeParent(join('a', 'b', 'key'))).rejects.toThrow('missing');
    expect(vi.mocked(fs.mkdir).mock.calls.map(([path]) => path)).toEqual([join('a', 'b'), 'a', '.']);
  });

  // A worker thread, in which the mutation run has its tests, cannot set a umask.
  it.skipIf(!isMainThread).each([0o000, 0o022, 0o077])(
    'makeParent makes the whole path, for this user alone, under umask %i',
    async (umask) => {
      const path = join(fresh(), 'a', 'b', 'key');
      const usual = process.umask();
      try {
        process.umask(umask);
        await makeParent(path);
        await makeParent(path);
      } finally {
        process.umask(usual);
      }
      for (const above of ['..', '../..']) expect(statSync(join(path, above)).mode & 0o777).toBe(0o700);
    },
  );
});

describe('writableByOthers', () => {
  it('writableByOthers finds directories that group or others may write to, once each, and ignores missing ones', async () => {
    const [wide, group, usual, own] = [fresh(), fresh(), fresh(), fresh()];
    const modes = { [wide]: 0o777, [group]: 0o770, [usual]: 0o755, [own]: 0o700 };
    for (const [path, mode] of Object.entries(modes)) chmodSync(path, mode);
    expect(await writableByOthers([wide, group, usual, own, wide, join(own, 'nowhere')])).toEqual([
      { path: wide, mode: '0777' },
      { path: group, mode: '0770' },
    ]);
  });
});

describe('readIfThere', () => {
  it('readIfThere returns the text, or undefined', async () => {
    const path = join(fresh(), 'file');
    expect(await readIfThere(path)).toBeUndefined();
    writeFileSync(path, 'text ü');
    expect(await readIfThere(path)).toBe('text ü');
  });

  it('readIfThere reports any other problem', async () => {
    await expect(readIfThere(fresh())).rejects.toThrow(/EISDIR/);
  });
});
