import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { TokenFile } from '../../../src/control/token-file.js';

function temporary(): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-token-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  return directory;
}

it('a token file is one token, with or without a line end', async () => {
  const path = join(temporary(), 'token');
  writeFileSync(path, 'abc\n');
  const file = new TokenFile(path);
  await file.load();
  expect(file.isShownBy('Bearer abc')).toBe(true);
  expect(file.isShownBy('Bearer abcd')).toBe(false);
});

it('a token file that is long, or never ends, is refused at once', async () => {
  const directory = temporary();
  writeFileSync(join(directory, 'long'), 'a'.repeat(4097));
  await expect(new TokenFile(join(directory, 'long')).load()).rejects.toThrow('more than 4096 bytes');
  spawnSync('mkfifo', [join(directory, 'pipe')]);
  await expect(new TokenFile(join(directory, 'pipe')).load()).rejects.toThrow('not a regular file');
  await expect(new TokenFile('/dev/zero').load()).rejects.toThrow('not a regular file');
});
