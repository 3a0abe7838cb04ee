import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { KeyFile } from '../../../../src/control/admission/key-file.js';
import { eventually } from '../../../helpers/wait.js';

it('a faulty key list is reported at most once a minute, and its state always has the fault', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-list-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'allow.txt');
  const key = 'ab'.repeat(32);
  writeFileSync(path, `${key}\n`);
  const file = new KeyFile(path);
  await file.load();
  const complaints: string[] = [];
  const sizes: number[] = [];
  file.watch({ changed: (_before, after) => sizes.push(after.size), trouble: (text) => complaints.push(text) });
  onTestFinished(() => file.close());
  writeFileSync(path, 'nonsense\n');
  await eventually(() => file.trouble !== '', 'the list to be wrong');
  rmSync(path);
  await eventually(() => file.trouble.includes('no such file'), 'the list to be missing');
  expect(file.state).toMatch(/^1 key, the last ones that could be read; .*no such file/);
  writeFileSync(path, `${key}\n${'cd'.repeat(32)}\n`);
  await eventually(() => sizes.length === 1, 'the list to be right');
  expect([file.trouble, file.state]).toEqual(['', '2 keys']);
  writeFileSync(path, 'nonsense again\n');
  await eventually(() => file.trouble !== '', 'the list to be wrong again');
  expect(complaints).toHaveLength(1);
});

it('a list that is written in parts is read once it is whole', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-list-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const path = join(directory, 'allow.txt');
  const keys = Array.from({ length: 20 }, (_, index) => `${String(index).padStart(2, '0')}`.repeat(32));
  writeFileSync(path, keys.join('\n'));
  const file = new KeyFile(path);
  await file.load();
  const sizes: number[] = [];
  file.watch({ changed: (_before, after) => sizes.push(after.size), trouble: () => {} });
  onTestFinished(() => file.close());
  // Each line comes between two looks, also on a busy machine: lines and looks wait for the same thread.
  writeFileSync(path, '');
  for (const key of keys.slice(1)) {
    appendFileSync(path, `${key}\n`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await eventually(() => sizes.length > 0, 'the list to be read');
  expect(sizes).toEqual([19]);
});
