/**
 * Mutation testing: `node packaging/mutation.mjs [--only PART[,PART…]] [--file TEXT[,TEXT…]] [--minutes N]`. Changes the
 * code in one place at a time, and expects a test to fail. A surviving mutant must be listed with its reason in
 * `__test__/mutation.md`. With `--file`, only the files are tried whose paths contain one of the texts.
 *
 * The cache keeps the results: a run continues where the last one ended, and repeats only mutants whose result may have
 * changed.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cacheDirectory } from './cache.mjs';
import { ensureInstalled, fail, root, say } from './ensure.mjs';
import { listRust, tryRust } from './mutation/cargo.mjs';
import { asEntry, compare, parseListed } from './mutation/listed.mjs';
import { sampled } from './mutation/mutants.mjs';
import { PARTS, SEED } from './mutation/parts.mjs';
import { openResults } from './mutation/results.mjs';
import { digestsOf, sourcesOf } from './mutation/sources.mjs';
import { listTypeScript, tryTypeScript } from './mutation/stryker.mjs';

const { values } = parseArgs({
  options: { only: { type: 'string' }, file: { type: 'string' }, minutes: { type: 'string' } },
});
const names = values.only?.split(',') ?? PARTS.map(({ name }) => name);
const parts = names.map((name) => PARTS.find((part) => part.name === name) ?? fail(`there is no part ${name}`));
const texts = values.file?.split(',') ?? [''];
const isMeant = (path) => texts.some((text) => path.includes(text));
const minutes = Number(values.minutes ?? Infinity);
if (!(minutes > 0)) fail('--minutes wants a number above 0');
const deadline = Date.now() + minutes * 60_000;
const cache = join(cacheDirectory(), 'mutation');

ensureInstalled();
const entries = parseListed(readFileSync(join(root, '__test__/mutation.md'), 'utf8'));
let failed = false;
for (const part of parts) {
  if (!(await mutate(part))) failed = true;
}
process.exit(failed ? 1 : 0);

/** Returns whether every surviving mutant of a part is listed. */
async function mutate(part) {
  const all = await (part.kind === 'rust' ? listRust : listTypeScript)(part, cache);
  const mutants = sampled(all, part.sample, SEED).filter(({ file }) => isMeant(file));
  const results = openResults(join(cache, 'results', part.name), digestsOf(part));
  const statusOf = (mutant) => results.get(mutant)?.status;
  const decided = (mutant) => ['killed', 'survived'].includes(statusOf(mutant));
  const left = mutants.filter((mutant) => !decided(mutant));
  say(`${part.name}: ${mutants.length} of ${all.length} mutants, ${left.length} to be tried`);

  const progress = showProgress(part, left.length);
  const onResult = (mutant, status, by) => {
    results.add(mutant, status, by);
    if (decided(mutant)) progress();
  };
  const tried = part.kind === 'rust' ? tryRust : tryTypeScript;
  if (left.length > 0 && Date.now() < deadline) await tried(part, left, cache, deadline, onResult, statusOf);

  const count = (status) => mutants.filter((mutant) => statusOf(mutant) === status).length;
  const notTried = mutants.filter((mutant) => !decided(mutant)).length;
  say(`${part.name}: ${count('killed')} killed, ${count('survived')} survived, ${notTried} not tried`);
  const files = sourcesOf(part).filter(isMeant);
  const mine = entries.filter((entry) => files.includes(entry.file));
  const { unlisted, removable } = compare(mine, mutants, statusOf, all);
  for (const { file, line } of removable) say(`${file}: may leave mutation.md, nothing survives in: ${line}`);
  for (const mutant of unlisted) {
    console.log(`${mutant.file}:${mutant.number} survived\n${asEntry(mutant)}`);
  }
  // Before the deadline, mutants are left over only if the run broke.
  if (notTried > 0 && Date.now() < deadline)
    say(`${part.name}: the run broke; see ${join(cache, 'work', part.name)}/*.log`);
  return unlisted.length === 0 && (notTried === 0 || Date.now() > deadline);
}

function showProgress(part, total) {
  const from = Date.now();
  let done = 0;
  return () => {
    done += 1;
    if (done % 20 === 0 || done === total) {
      say(`${part.name}: ${done} of ${total}, ${Math.round((Date.now() - from) / 1000)} s`);
    }
  };
}
