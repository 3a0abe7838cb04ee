/** What a relay holds before its first client, and until it has work. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { Command, ROOT, start, temporary } from './commands.js';
import { portOf } from './reach.js';

const PLANES = [...new Set(LANES.map(({ planeKind }) => planeKind))];
const MIB = 1 << 20;
/** About 28 MiB on the Node versions that are supported; 48 to 65 MiB if V8 starts as it does by default. */
const ANONYMOUS = 40 * MIB;

it.runIf(process.platform === 'linux')('a relay that has just started holds little memory of its own', async () => {
  const relay = start('derper', ['-a', '127.0.0.1:0', '-c', join(temporary(), 'derper.key'), '-stun=false']);
  await portOf(relay, 'DERP over plain HTTP');
  const status = readFileSync(`/proc/${relay.pid}/status`, 'utf8');
  expect(Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024).toBeLessThan(ANONYMOUS);
});

const SMALL_START = JSON.stringify(pathToFileURL(join(ROOT, 'dist/cli/small-start.js')));
/** What the programs below have in common: `fill` makes objects that stay, and returns the size of the young generation. */
const PROGRAM = `
  import { getHeapSpaceStatistics } from 'node:v8';
  import { beginSmallStart, endSmallStart, endSmallStartWhenBusy } from ${SMALL_START};
  const young = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'new_space').space_size;
  const fill = () => {
    const kept = [];
    for (let i = 0; i < 400_000; i += 1) kept.push({ i });
    return young();
  };
  beginSmallStart();
`;

async function sizes(program: string): Promise<{ small: number; grown: number }> {
  const { code, stdout } = await new Command([
    process.execPath,
    '--input-type=module',
    '--eval',
    PROGRAM + program,
  ]).end();
  expect(code).toBe(0);
  return JSON.parse(stdout);
}

it('V8 has its defaults again once a relay has started', async () => {
  const { small, grown } = await sizes(`
    const small = fill();
    endSmallStart();
    console.log(JSON.stringify({ small, grown: fill() }));
  `);
  expect(small).toBeLessThan(4 * MIB);
  expect(grown).toBeGreaterThan(4 * MIB);
});

it('V8 has its defaults again once the thread of JavaScript is busy, and not before', async () => {
  const { small, grown } = await sizes(`
    endSmallStartWhenBusy();
    const small = fill();
    const work = setInterval(() => {
      const grown = fill();
      if (grown < ${4 * MIB}) return;
      clearInterval(work);
      console.log(JSON.stringify({ small, grown }));
    });
  `);
  expect(small).toBeLessThan(4 * MIB);
  expect(grown).toBeGreaterThan(4 * MIB);
});

it.each(PLANES)('a relay on the %s plane has V8 optimize at once only if packets cross JavaScript', async (plane) => {
  const folder = temporary();
  const spy = join(folder, 'spy.cjs');
  writeFileSync(
    spy,
    `const v8 = require('node:v8');
    const set = v8.setFlagsFromString;
    v8.setFlagsFromString = (flag) => {
      process.stderr.write('flag=' + flag + '\\n');
      set(flag);
    };
    require('node:module').syncBuiltinESMExports();`,
  );
  const env = { DERPKIT_PLANE: plane, NODE_OPTIONS: `--require ${JSON.stringify(spy)}` };
  const relay = start('derper', ['-a', '127.0.0.1:0', '-c', join(folder, 'derper.key'), '-stun=false'], { env });
  await portOf(relay, 'DERP over plain HTTP');
  const { stderr } = await relay.stop();
  expect(stderr.includes('flag=--no-opt')).toBe(true);
  expect(stderr.includes('flag=--opt')).toBe(plane === 'js');
});
