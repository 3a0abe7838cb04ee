/** What a relay holds before its first client. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { Command, ROOT, start, temporary } from './commands.js';
import { portOf } from './reach.js';

const MIB = 1 << 20;
/** About 28 MiB on the Node versions that are supported; 48 to 65 MiB if V8 starts as it does by default. */
const ANONYMOUS = 40 * MIB;

it.runIf(process.platform === 'linux')('a relay that has just started holds little memory of its own', async () => {
  const relay = start('derper', ['-a', '127.0.0.1:0', '-c', join(temporary(), 'derper.key'), '-stun=false']);
  await portOf(relay, 'DERP over plain HTTP');
  const status = readFileSync(`/proc/${relay.pid}/status`, 'utf8');
  expect(Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024).toBeLessThan(ANONYMOUS);
});

it('V8 has its defaults again once a relay has started', async () => {
  const program = `
    import { getHeapSpaceStatistics } from 'node:v8';
    import { beginSmallStart, endSmallStart } from ${JSON.stringify(pathToFileURL(join(ROOT, 'dist/cli/small-start.js')))};
    const young = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size;
    const fill = () => {
      const kept = [];
      for (let i = 0; i < 400_000; i += 1) kept.push({ i });
      return young();
    };
    beginSmallStart();
    const small = fill();
    endSmallStart();
    console.log(JSON.stringify({ small, grown: fill() }));
  `;
  const { code, stdout } = await new Command([process.execPath, '--input-type=module', '--eval', program]).end();
  expect(code).toBe(0);
  const { small, grown } = JSON.parse(stdout) as { small: number; grown: number };
  expect(small).toBeLessThan(4 * MIB);
  expect(grown).toBeGreaterThan(4 * MIB);
});
