import { expect, it } from 'vitest';
import { rereadEach } from '../../../src/control/reread.js';

const files = ['/a', '/b', '/c'].map((path) => ({ path }));

it('every file is read again, and nothing is wrong if all are good', async () => {
  const read: string[] = [];
  await rereadEach(files, async ({ path }) => void read.push(path));
  expect(read).toEqual(['/a', '/b', '/c']);
});

it('an error names every faulty file with its reason, and the others are read all the same', async () => {
  const read: string[] = [];
  const reading = rereadEach(files, async ({ path }) => {
    if (path === '/a') throw Object.assign(new Error("ENOENT: no such file, open '/a'"), { errno: -2 });
    if (path === '/b') throw new Error('it is empty');
    read.push(path);
  });
  await expect(reading).rejects.toThrow(/^\/a: no such file or directory; \/b: it is empty$/);
  expect(read).toEqual(['/c']);
});
