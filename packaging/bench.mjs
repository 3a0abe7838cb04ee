/**
 * `npm run bench`: `derpkit bench` in a clone, with everything that it needs built before: the sources, the load generator,
 * and derper where Go is. `--picture bench/record/X.json` draws the picture that the README shows, and writes the table
 * there, too.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, ensureInstalled, fail, root, say } from './ensure.mjs';
import { ensureGenerator, missingToolchain } from './native.mjs';
import { buildPeers, goAvailable } from './peers.mjs';

const README = join(root, 'README.md');
const SECTION = /(<!-- bench: )\S+( -->\n)[\s\S]*?(\n<!-- \/bench -->)/;

ensureInstalled();
ensureBuilt();
const args = process.argv.slice(2);
const entry = join(root, 'dist/cli/derpkit.js');
const drawn = args.indexOf('--picture');
if (drawn >= 0) await draw(args[drawn + 1]);
else await measure();

async function measure() {
  const missing = missingToolchain();
  if (missing) fail(`${missing} is not installed; the load generator is built with it`);
  ensureGenerator();
  const env = { ...process.env, DERPKIT_BENCH_CLONE: root };
  const wanted = args.includes('--contenders') ? args[args.indexOf('--contenders') + 1] : 'derper';
  if (wanted?.includes('derper') && !args.includes('--derper')) {
    const reason = goAvailable();
    if (reason) env.DERPKIT_BENCH_DERPER_MISSING = reason;
    else args.push('--derper', (await buildPeers()).derper);
  }
  const child = spawn(process.execPath, [entry, 'bench', ...args], { cwd: root, stdio: 'inherit', env });
  // A Ctrl-C reaches both; the one that measures has more to do before it ends.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
  child.once('exit', (code) => process.exit(code ?? 1));
}

async function draw(record) {
  if (record === undefined) fail('--picture needs a record, bench/record/X.json');
  const path = relative(root, resolve(record));
  const { status, stdout } = spawnSync(process.execPath, [entry, 'bench', '--picture', path], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  });
  if (status !== 0) process.exit(status ?? 1);
  const before = readFileSync(README, 'utf8');
  if (!SECTION.test(before)) fail('README.md has no section of the benchmark');
  const { readRecord, roundsIn } = await import(pathToFileURL(join(root, 'dist/bench/record.js')).href);
  const measured = readRecord(join(root, path));
  const { commit, cores } = measured.machine;
  const section = `![Medians with their ranges, and ratios to derper](bench/picture.svg)

Medians of ${roundsIn(measured)} (\`${measured.profile}\`)${commit ? ` at ${commit}` : ''}, on ${cores} cores; their ranges, and in bold the ratio to derper; ¹ where the generator was the limit.

${stdout.trimEnd()}`;
  writeFileSync(
    README,
    before.replace(SECTION, (_all, open, close, end) => `${open}${path}${close}${section}${end}`),
  );
  say(`bench/picture.svg and the table in README.md are those of ${path}`);
}
