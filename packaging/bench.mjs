/**
 * `npm run bench`: runs `derpkit bench` in a clone, after building the sources, the load generator, and derper if Go is
 * installed. `--picture bench/record/X.json [more records]` writes the whole table into bench/README.md, and the most
 * relevant rows with a picture into README.md.
 */
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, ensureInstalled, fail, root, say } from './ensure.mjs';
import { ensureGenerator, missingToolchain } from './native.mjs';
import { buildPeers, whyNoGo } from './peers.mjs';

/**
 * The rows of the README: the cost of a packet, a login and an idle client, the effect of overload and restarts, and how old
 * packets are behind a narrow link.
 */
const ASKED = [
  ...['relay-10x1400-20k/tls', 'relay-10x1400-100k/tls', 'relay-10x1400-flood/tls', 'overload-3x/tls'],
  ...['mesh-10x1400-20k/tls', 'storm/tls', 'restart-2000/tls', 'idle-8000/tls'],
  ...['narrow-10m-32k-cubic/plain', 'narrow-10m-256k-cubic/plain', 'narrow-10m-256k-bbr/plain'],
];
const SECTION = /(<!-- bench: )[^\n]*?( -->\n)[\s\S]*?(\n<!-- \/bench -->)/;

ensureInstalled();
ensureBuilt();
const args = process.argv.slice(2);
const entry = join(root, 'dist/cli/derpkit.js');
const drawn = args.indexOf('--picture');
if (drawn >= 0) await draw(args.slice(drawn + 1));
else await measure();

async function measure() {
  const env = { ...process.env, DERPKIT_BENCH_CLONE: root };
  // These need neither a generator nor a relay to measure.
  const isQuestion = ['--help', '-h', '--list'].some((flag) => args.includes(flag));
  if (!isQuestion) await prepare(env);
  const child = spawn(process.execPath, [entry, 'bench', ...args], { cwd: root, stdio: 'inherit', env });
  // Ctrl-C reaches both processes; the benchmark has to finish its own work before this one ends.
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => signal === 'SIGTERM' && child.kill(signal));
  child.once('exit', (code) => process.exit(code ?? 1));
}

/** Builds the generator, and derper if it is wanted. */
async function prepare(env) {
  const missing = missingToolchain();
  if (missing) fail(`${missing} is not installed; the load generator is built with it`);
  ensureGenerator();
  const wanted = args.includes('--contenders') ? args[args.indexOf('--contenders') + 1] : 'derper';
  if (!wanted?.includes('derper') || args.includes('--derper')) return;
  const reason = whyNoGo();
  if (reason) env.DERPKIT_BENCH_DERPER_MISSING = reason;
  else args.push('--derper', (await buildPeers()).derper);
}

async function draw(given) {
  if (given.length === 0) fail('--picture needs a record, bench/record/X.json');
  const paths = given.map((path) => relative(root, resolve(path)));
  const built = (name) => import(pathToFileURL(join(root, 'dist/bench', `${name}.js`)).href);
  const [{ joined, readRecord, roundsIn }, { markdown }, { picture }] = await Promise.all(
    ['record', 'table', 'picture'].map(built),
  );
  const records = paths.map((path) => readRecord(join(root, path)));
  const whole = joined(records);
  const asked = ASKED.map(
    (id) => whole.scenarios.find((scenario) => scenario.id === id) ?? fail(`no record has ${id}`),
  );
  const short = { ...whole, scenarios: asked, runs: whole.runs.filter(({ scenario }) => ASKED.includes(scenario)) };

  const measured = records.map((record) => {
    const { commit = 'an unknown commit' } = record.machine;
    const rows =
      record === records[0]
        ? 'Medians'
        : record.scenarios
            .map(({ title }) => title)
            .filter(unique)
            .join(', ');
    return `${rows}: ${roundsIn(record)} at \`${commit}\``;
  });
  const legend = `${measured.join('; ')}; on ${whole.machine.cores} cores. In brackets the range of the rounds, in bold the ratio to derper; ¹ where the generator was the limit.`;
  writeFileSync(join(root, 'bench/picture.svg'), picture(short) ?? fail('the records have nothing to compare'));
  write('README.md', paths, [
    '![Medians with their ranges, and ratios to derper](bench/picture.svg)',
    legend,
    markdown(short),
  ]);
  write('bench/README.md', paths, [legend, markdown(whole)]);
  say(`bench/picture.svg and the tables in README.md and bench/README.md are those of ${paths.join(' and ')}`);
}

function unique(title, index, titles) {
  return titles.indexOf(title) === index;
}

/** Replaces the benchmark section of a document. */
function write(document, paths, paragraphs) {
  const before = readFileSync(join(root, document), 'utf8');
  if (!SECTION.test(before)) fail(`${document} has no section of the benchmark`);
  const fill = (_all, open, close, end) => `${open}${paths.join(' ')}${close}${paragraphs.join('\n\n')}${end}`;
  writeFileSync(join(root, document), before.replace(SECTION, fill));
}
