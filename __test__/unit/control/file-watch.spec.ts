import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { FileWatch, LOOK_AT_FILES } from '../../../src/control/file-watch.js';
import { turn } from '../../helpers/wait.js';
import { temporaryDirectory } from '../temp.js';

// Spied upon, and otherwise itself.
vi.mock('node:fs/promises', { spy: true });

const root = temporaryDirectory();
let count = 0;

/** Two files that are watched, and looks at them that come when the test says so. */
async function watched() {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => {
    vi.useRealTimers();
  });
  count += 1;
  const [one, two] = [join(root, `${count}-one`), join(root, `${count}-two`)];
  writeFileSync(one, 'a');
  writeFileSync(two, 'a');
  let told = 0;
  const watch = new FileWatch([one, two], () => {
    told += 1;
  });
  onTestFinished(() => watch.stop());
  /** So many looks, each to its end. */
  const looks = async (times: number) => {
    for (let time = 0; time < times; time++) {
      vi.advanceTimersByTime(LOOK_AT_FILES);
      await Promise.allSettled(vi.mocked(stat).mock.results.map(({ value }) => value));
      await turn();
    }
    return told;
  };
  await looks(1);
  return { one, two, watch, looks };
}

describe('the file watch', () => {
  it('the watch reports nothing while files stay unchanged', async () => {
    const { looks } = await watched();
    expect(await looks(3)).toBe(0);
  });

  it('the watch reports a change once, after one stable look', async () => {
    const { one, two, looks } = await watched();
    writeFileSync(one, 'bb');
    expect(await looks(1)).toBe(0);
    writeFileSync(two, 'bb');
    expect(await looks(1)).toBe(0);
    expect(await looks(1)).toBe(1);
    expect(await looks(2)).toBe(1);
  });

  it('the watch reports a removed file, and a new one', async () => {
    const { two, looks } = await watched();
    rmSync(two);
    expect(await looks(2)).toBe(1);
    writeFileSync(two, 'a');
    expect(await looks(2)).toBe(2);
  });

  it('the watch reports a link with a new target', async () => {
    const { one, two, looks } = await watched();
    writeFileSync(`${one}.other`, 'c');
    rmSync(two);
    symlinkSync(one, two);
    expect(await looks(2)).toBe(1);
    rmSync(two);
    symlinkSync(`${one}.other`, two);
    expect(await looks(2)).toBe(2);
  });

  it('the watch reports a file that is missing for another reason', async () => {
    const { two, looks } = await watched();
    rmSync(two);
    expect(await looks(2)).toBe(1);
    symlinkSync(two, two);
    expect(await looks(2)).toBe(2);
  });

  it('the watch does not look again while the system lets it wait', async () => {
    const { one, looks } = await watched();
    let answer = () => {};
    const held = new Promise<never>((_, reject) => {
      answer = () => reject(Object.assign(new Error('gone'), { code: 'EIO' }));
    });
    vi.mocked(stat).mockClear().mockReturnValueOnce(held);
    vi.advanceTimersByTime(3 * LOOK_AT_FILES);
    expect(vi.mocked(stat).mock.calls).toHaveLength(2);
    answer();
    // It has seen a file that cannot be read once, which is no stable look.
    expect(await looks(3)).toBe(0);
    writeFileSync(one, 'bb');
    expect(await looks(2)).toBe(1);
  });

  it('a watch that is stopped in the middle of a look reports nothing', async () => {
    const { one, watch, looks } = await watched();
    writeFileSync(one, 'bb');
    expect(await looks(1)).toBe(0);
    vi.advanceTimersByTime(LOOK_AT_FILES);
    watch.stop();
    expect(await looks(1)).toBe(0);
  });

  it('a stopped watch reports nothing', async () => {
    const { one, watch, looks } = await watched();
    writeFileSync(one, 'bb');
    expect(await looks(1)).toBe(0);
    watch.stop();
    expect(await looks(3)).toBe(0);
  });
});
