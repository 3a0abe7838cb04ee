import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { TokenFile } from '../../../src/control/token-file.js';
import { descriptorsOf } from '../../helpers/leaks.js';

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

async function loaded(text: string): Promise<TokenFile> {
  const path = join(temporary(), 'token');
  writeFileSync(path, text);
  const file = new TokenFile(path);
  await file.load();
  return file;
}

it.each(['Bearer abc', 'bearer abc', 'BEARER   abc', 'Bearer abc  '])(
  'a header shows the token: %j',
  async (header) => {
    expect((await loaded('abc')).isShownBy(header)).toBe(true);
  },
);

it.each([
  undefined,
  '',
  'abc',
  'Basic abc',
  'Bearer',
  'Bearer ',
  'Bearerabc',
  'Bearer a',
  'Bearer abc def',
  'x Bearer abc',
])('a header does not show the token: %j', async (header) => {
  expect((await loaded('abc')).isShownBy(header)).toBe(false);
});

it('a token may have every character that a header may have, and is shown as it is', async () => {
  const token = `${'azAZ09-._~+/'.repeat(300)}==`;
  const file = await loaded(` ${token}\n`);
  expect(file.isShownBy(`Bearer ${token}`)).toBe(true);
  expect(file.isShownBy(`Bearer ${token.toLowerCase()}`)).toBe(false);
});

it.each([
  ['', 'the file is empty'],
  [' \n\n', 'the file is empty'],
  ...['a b', 'a\nb', '=', '=a', 'a=b', '"abc', 'abc"', 'ä'].map(
    (text) => [text, 'the file is not one token of letters, digits and -._~+/='] as const,
  ),
] as const)('a token file that cannot be used is refused: %j', async (text, reason) => {
  await expect(loaded(text)).rejects.toThrow(reason);
});

it('no header shows a token before it was read, and a faulty file leaves the last one', async () => {
  const path = join(temporary(), 'token');
  const file = new TokenFile(path);
  expect([undefined, 'Bearer', 'Bearer undefined'].map((header) => file.isShownBy(header))).toEqual(
    Array(3).fill(false),
  );
  writeFileSync(path, 'first');
  await file.load();
  writeFileSync(path, 'not good');
  await expect(file.load()).rejects.toThrow('not one token');
  expect(file.isShownBy('Bearer first')).toBe(true);
  writeFileSync(path, 'second');
  await file.load();
  expect(['first', 'second'].map((token) => file.isShownBy(`Bearer ${token}`))).toEqual([false, true]);
});

it('a token file of the longest length is read, and none stays open', async () => {
  const file = await loaded('a'.repeat(4096));
  expect(file.isShownBy(`Bearer ${'a'.repeat(4096)}`)).toBe(true);
  expect(descriptorsOf(file.path)).toBe(0);
  const { path } = file;
  writeFileSync(path, 'a'.repeat(4097));
  await expect(file.load()).rejects.toThrow('more than 4096 bytes');
  expect(descriptorsOf(path)).toBe(0);
});

it('a token file that is long, or never ends, is refused at once', async () => {
  const directory = temporary();
  writeFileSync(join(directory, 'long'), 'a'.repeat(4097));
  await expect(new TokenFile(join(directory, 'long')).load()).rejects.toThrow('more than 4096 bytes');
  spawnSync('mkfifo', [join(directory, 'pipe')]);
  await expect(new TokenFile(join(directory, 'pipe')).load()).rejects.toThrow('not a regular file');
  await expect(new TokenFile('/dev/zero').load()).rejects.toThrow('not a regular file');
});
