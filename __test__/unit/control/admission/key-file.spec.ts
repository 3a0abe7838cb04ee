/** A file of keys, looked at in time that the test moves, and files that are none. */
import { mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { KeyFile } from '../../../../src/control/admission/key-file.js';
import { formatNodeKey } from '../../../../src/protocol/key.js';
import { turn } from '../../../helpers/wait.js';
import { keyFile, newKey, write } from './gates.js';

/** Milliseconds between two looks. */
const LOOK = 250;

/** A list that is watched, what it reports, and one look at it. */
async function watched(...keys: ReturnType<typeof newKey>[]) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  onTestFinished(() => void vi.useRealTimers());
  const file = await keyFile(...keys);
  const sizes: number[][] = [];
  const troubles: string[] = [];
  file.watch({
    changed: (before, after) => sizes.push([before.size, after.size]),
    trouble: (text) => troubles.push(text),
  });
  /** Until the look is over, and the next one is due. */
  const look = async () => {
    vi.advanceTimersByTime(LOOK);
    // A busy machine needs many turns until the system has answered; without a next look there would be no end.
    for (let turns = 0; turns < 1_000_000 && vi.getTimerCount() === 0; turns++) await turn(1);
    expect(vi.getTimerCount()).toBe(1);
  };
  return { file, sizes, troubles, look };
}

it('a list that is read again, although it is not watched, has the keys of its file', async () => {
  const file = await keyFile(newKey());
  const other = newKey();
  write(file, other);
  await file.reload();
  expect([...file.keys]).toEqual([other]);
});

describe('a watched list', () => {
  it('a list is read when it is as it was at the last look', async () => {
    const { file, sizes, look } = await watched(newKey());
    const [one, other] = [newKey(), newKey()];
    write(file, one, other);
    await look();
    expect(file.keys.size).toBe(1);
    await look();
    expect([...file.keys]).toEqual([one, other]);
    await look();
    expect(sizes).toEqual([[1, 2]]);
    expect([file.trouble, file.state]).toEqual(['', '2 keys']);
  });

  it('a list of other keys is noticed, also if it is as long as before', async () => {
    const { file, sizes, look } = await watched(newKey());
    const other = newKey();
    write(file, other);
    for (let time = 0; time < 2; time++) await look();
    expect([...file.keys]).toEqual([other]);
    expect(sizes).toEqual([[1, 1]]);
  });

  it('a list of as many keys as before is another one if a single key is', async () => {
    const [one, other, third] = [newKey(), newKey(), newKey()];
    const { file, sizes, look } = await watched(one, other);
    write(file, one, third);
    for (let time = 0; time < 2; time++) await look();
    expect([...file.keys]).toEqual([one, third]);
    expect(sizes).toEqual([[2, 2]]);
  });

  it('a list that is written anew with the same keys in another order is no change', async () => {
    const [one, other] = [newKey(), newKey()];
    const { file, sizes, look } = await watched(one, other);
    write(file, other, one);
    for (let time = 0; time < 2; time++) await look();
    expect([...file.keys]).toEqual([other, one]);
    await file.reload();
    expect(sizes).toEqual([]);
    write(file, other);
    await file.reload();
    expect(sizes).toEqual([[2, 1]]);
  });

  it('a list that goes missing for a while is no change, and its trouble is over', async () => {
    const key = newKey();
    const { file, sizes, troubles, look } = await watched(key);
    const directory = dirname(file.path);
    renameSync(directory, `${directory}.away`);
    await look();
    expect(file.trouble).toBe(`${file.path}: no such file or directory`);
    expect(file.state).toBe(`1 key, the last ones that could be read; ${file.trouble}`);
    await expect(file.reload()).rejects.toThrow();
    renameSync(`${directory}.away`, directory);
    await look();
    expect([file.trouble, file.state, [...file.keys]]).toEqual(['', '1 key', [key]]);
    expect([sizes, troubles]).toEqual([[], ['no such file or directory']]);
  });

  it('a list that stays faulty is reported once a minute', async () => {
    const { file, troubles, look } = await watched(newKey());
    rmSync(file.path);
    await look();
    expect(troubles).toHaveLength(1);
    for (let milliseconds = LOOK; milliseconds < 60_000; milliseconds += LOOK) await look();
    expect(troubles).toHaveLength(1);
    await look();
    expect(troubles).toHaveLength(2);
  });

  it('a list that is closed is not looked at any more', async () => {
    const { file, troubles } = await watched(newKey());
    file.close();
    expect(vi.getTimerCount()).toBe(0);
    expect(troubles).toEqual([]);
  });

  it('a list that is closed during a look reports nothing, and is not looked at again', async () => {
    const { file, troubles } = await watched(newKey());
    rmSync(file.path);
    vi.advanceTimersByTime(LOOK);
    file.close();
    for (let turns = 0; turns < 1_000_000 && file.trouble === ''; turns++) await turn(1);
    await turn();
    expect([troubles, vi.getTimerCount()]).toEqual([[], 0]);
  });

  it('a list that is closed does not change', async () => {
    const key = newKey();
    const { file, sizes } = await watched(key);
    file.close();
    write(file, newKey(), newKey());
    await file.reload();
    expect([[...file.keys], sizes]).toEqual([[key], []]);
  });
});

describe('a file that is no list', () => {
  it('a directory is no list', async () => {
    const { path } = await keyFile();
    mkdirSync(`${path}.d`);
    await expect(new KeyFile(`${path}.d`).load()).rejects.toThrow(/^it is not a regular file$/);
  });

  it('a file that is longer than half a million keys need is not read', async () => {
    const file = await keyFile();
    truncateSync(file.path, 32 << 20);
    await expect(file.load()).rejects.toThrow(/^line 1 is not a node key/);
    truncateSync(file.path, (32 << 20) + 1);
    await expect(file.load()).rejects.toThrow(/^the file has more than 32 MiB$/);
  });

  it.runIf(process.platform === 'linux')('a list is closed when it is read, and when it cannot be', async () => {
    const file = await keyFile(newKey());
    await file.load();
    writeFileSync(file.path, `${formatNodeKey(newKey())}x`);
    await expect(file.load()).rejects.toThrow();
    const open = readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return [];
      }
    });
    expect(open).not.toContain(file.path);
  });
});
