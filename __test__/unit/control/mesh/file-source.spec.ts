import { renameSync, rmSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { FileSource, relaysIn } from '../../../../src/control/mesh/file-source.js';
import { STRICT } from '../../../helpers/strict-barrier.js';
import { eventually, turn } from '../../../helpers/wait.js';
import { temporaryDirectory } from '../../temp.js';

// Spied upon, and otherwise itself.
vi.mock('node:fs/promises', { spy: true });

const directory = temporaryDirectory();
let files = 0;

/** A source over a file with this text, and its reports. */
function source(text?: string) {
  files += 1;
  const path = join(directory, `relays-${files}`);
  const told: string[] = [];
  if (text !== undefined) writeFileSync(path, text);
  const found = new FileSource(path, STRICT, 5);
  onTestFinished(() => found.stop());
  found.start({
    found: (relays) => told.push(relays.map(({ name }) => name).join(' ')),
    failed: (reason) => told.push(reason),
  });
  const until = (last: string) =>
    eventually(
      () => told.at(-1) === last,
      () => `${last}: ${JSON.stringify(told)}`,
    );
  /** Replaces the file as a whole, so that no half of it is seen. */
  const write = (next: string) => {
    writeFileSync(`${path}.new`, next);
    renameSync(`${path}.new`, path);
  };
  return { path, told, until, write };
}

describe('a source in a file', () => {
  it('a file source names the relays of its file, and follows changes', async () => {
    const { until, write } = source('a.test\n# two\n\n  b.test:8443/10.0.0.2 # inner\n');
    await until('a.test b.test:8443/10.0.0.2');
    write('a.test\n');
    await until('a.test');
    write('');
    await until('');
  });

  it('a missing file of relays, or one with a wrong line, is reported with its path', async () => {
    const { path, until, write } = source();
    await until(`${path}: no such file or directory`);
    write('a.test\n');
    await until('a.test');
    write('a.test\nb c\n');
    const forms = 'it has to be host, host:port or host:port/dialhost, such as relay.example.com:8443/10.0.0.3';
    await until(`${path}: line 2 is no relay: ${forms}`);
    rmSync(path);
    await until(`${path}: no such file or directory`);
  });

  it('a change is not missed while the watch of the file takes its first look', async () => {
    let look: (found: Stats) => void = () => {};
    const held = new Promise<Stats>((resolve) => {
      look = resolve;
    });
    vi.mocked(stat).mockReturnValueOnce(held);
    const { path, told, until, write } = source('a.test\n');
    await turn(20);
    write('b.test\n');
    look(statSync(path));
    await until('b.test');
    expect(told).toEqual(['b.test']);
  });

  it('a file of relays that is too long is refused', async () => {
    const { path, until } = source('a.test\n'.repeat(200_000));
    await until(`${path}: it is longer than 1048576 bytes`);
  });

  it('a relay that is in a file twice counts once', () => {
    expect(relaysIn('a.test\na.test:443\na.test/10.0.0.1\r\n').map(({ name }) => name)).toEqual([
      'a.test',
      'a.test/10.0.0.1',
    ]);
  });
});
