/**
 * Runs TypeScript mutants with Stryker. It is installed in the cache and not with the clone's packages, because it
 * needs more packages than all other development, for a run that most clones never make.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { root, run } from '../ensure.mjs';
import { follow } from './follow.mjs';
import { brief, named } from './mutants.mjs';
import { place } from './place.mjs';
import { sourcesOf } from './sources.mjs';

const VERSION = '9.6.1';
const PLUGIN = fileURLToPath(new URL('stryker-plugin.mjs', import.meta.url));

/** Lists all mutants of a part. */
export async function listTypeScript(part, cache) {
  const module = join(tools(cache), 'node_modules/@stryker-mutator/instrumenter/dist/src/index.js');
  const { Instrumenter } = await import(pathToFileURL(module).href);
  const silent = { info() {}, debug() {}, isDebugEnabled: () => false };
  const options = { plugins: null, excludedMutations: [], ignorers: [] };
  const found = [];
  for (const file of sourcesOf(part)) {
    const content = readFileSync(join(root, file), 'utf8');
    const { mutants } = await new Instrumenter(silent).instrument([{ name: file, mutate: true, content }], options);
    const lines = content.split('\n');
    for (const mutant of mutants) {
      const original = lines[mutant.location.start.line];
      const change = `${mutant.mutatorName}: ${brief(mutant.replacement)}`;
      found.push({ file, line: original.trim(), number: mutant.location.start.line + 1, change, place: place(mutant) });
    }
  }
  return named(found);
}

/** Tries mutants, and passes on each result as it arrives. */
export async function tryTypeScript(part, mutants, cache, deadline, onResult) {
  const work = workCopy(part, cache);
  const results = join(work, 'results.jsonl');
  writeFileSync(results, '');
  const plan = join(work, 'plan.json');
  writeFileSync(plan, JSON.stringify({ results, wanted: mutants.map((mutant) => mutant.place) }));
  const config = join(work, 'stryker.config.json');
  writeFileSync(config, JSON.stringify(settings([...new Set(mutants.map(({ file }) => file))])));

  const stryker = join(tools(cache), 'node_modules/@stryker-mutator/core/bin/stryker.js');
  const byPlace = new Map(mutants.map((mutant) => [mutant.place, mutant]));
  await follow([process.execPath, stryker, 'run', config], {
    cwd: work,
    env: { DERPKIT_MUTATION_PLAN: plan, FORCE_COLOR: '0', DERPKIT_LANES: 'js' },
    log: join(work, 'stryker.log'),
    deadline,
    look(reader) {
      for (const line of reader.lines(results)) {
        const { place, status, killedBy } = JSON.parse(line);
        const mutant = byPlace.get(place);
        if (mutant && verdict[status]) onResult(mutant, verdict[status], killedBy?.[0]?.split('#')[0]);
      }
    },
  });
}

/** A mutant that no test reaches counts as a survivor. */
const verdict = {
  Killed: 'killed',
  Timeout: 'killed',
  RuntimeError: 'killed',
  Survived: 'survived',
  NoCoverage: 'survived',
};

function settings(files) {
  return {
    mutate: files,
    plugins: ['@stryker-mutator/vitest-runner', PLUGIN],
    checkers: ['wanted'],
    reporters: ['record'],
    testRunner: 'vitest',
    vitest: { configFile: 'vitest.config.ts', related: false },
    concurrency: 1,
    // Stryker detects endless loops by a count. The timeout is for tests that wait, on a machine that does other work,
    // too.
    timeoutMS: 30_000,
    dryRunTimeoutMinutes: 10,
    tempDirName: '.sandbox',
    // Stryker's reader of this file needs an older TypeScript.
    tsconfigFile: 'none.json',
    allowConsoleColors: false,
    clearTextReporter: { logTests: false },
  };
}

/** A copy of the sources, so that nothing in the clone changes. */
function workCopy(part, cache) {
  const work = join(cache, 'work', part.name);
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  for (const name of ['src', '__test__', 'package.json'])
    cpSync(join(root, name), join(work, name), { recursive: true });
  symlinkSync(join(root, 'node_modules'), join(work, 'node_modules'));
  const include = part.tests.map((path) => (path.endsWith('.ts') ? path : `${path}/**/*.spec.ts`));
  // What hangs is Stryker's to end.
  const test = { include, exclude: part.without ?? [], testTimeout: 120_000, hookTimeout: 120_000 };
  writeFileSync(join(work, 'vitest.config.ts'), `export default ${JSON.stringify({ test })};\n`);
  return work;
}

/** The directory of Stryker; installs it if necessary. It needs Vitest beside it, in the version of the tests. */
function tools(cache) {
  const { version: vitest } = JSON.parse(readFileSync(join(root, 'node_modules/vitest/package.json'), 'utf8'));
  const directory = join(cache, `stryker-${VERSION}-vitest-${vitest}`);
  if (!existsSync(join(directory, 'node_modules/.package-lock.json'))) {
    mkdirSync(directory, { recursive: true });
    writeFileSync(join(directory, 'package.json'), '{ "private": true }\n');
    const packages = [
      `@stryker-mutator/core@${VERSION}`,
      `@stryker-mutator/vitest-runner@${VERSION}`,
      `vitest@${vitest}`,
    ];
    run('npm', ['install', '--prefix', directory, '--no-audit', '--no-fund', '--save-exact', ...packages]);
  }
  return directory;
}
