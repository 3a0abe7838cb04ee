/** Runs Rust mutants with cargo-mutants, which is installed in the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fail, root, run } from '../ensure.mjs';
import { follow } from './follow.mjs';
import { brief, named } from './mutants.mjs';
import { sourcesOf, textOf } from './sources.mjs';

const VERSION = '27.1.0';

/** The quick tests run first; the others run only for mutants that survive them. */
const STAGES = [['--lib'], ['--tests']];

/** The state of a mutant that survived the quick tests, before the others have run. */
const PENDING = 'pending';

export function listRust(part, cache) {
  const args = ['mutants', '--list', '--json', '--package', basename(part.source)];
  const { status, stdout, stderr } = spawnSync(tool(cache), args, { cwd: root, encoding: 'utf8', maxBuffer: 1 << 28 });
  if (status !== 0) fail(`cargo mutants --list failed: ${stderr}`);
  const lines = new Map();
  const sources = sourcesOf(part);
  const all = JSON.parse(stdout).filter(({ file }) => sources.includes(file));
  const found = all.map(({ name, file, span }) => {
    if (!lines.has(file)) lines.set(file, textOf(file).split('\n'));
    const number = span.start.line;
    const change = brief(name.replace(/^\S+:\d+:\d+: /, ''));
    return { file, line: lines.get(file)[number - 1].trim(), number, change, place: name };
  });
  return named(found);
}

export async function tryRust(part, mutants, cache, deadline, onResult, statusOf) {
  const done = new Set();
  for (const [stage, tests] of STAGES.entries()) {
    const last = stage === STAGES.length - 1;
    const left = mutants.filter((mutant) => !done.has(mutant) && (last || statusOf(mutant) !== PENDING));
    if (left.length === 0 || Date.now() > deadline) continue;
    await tryWith(tests, part, left, cache, deadline, (mutant, killed, by) => {
      if (killed || last) done.add(mutant);
      onResult(mutant, killed ? 'killed' : last ? 'survived' : PENDING, by);
    });
  }
}

async function tryWith(tests, part, mutants, cache, deadline, onResult) {
  const work = join(cache, 'work', part.name);
  const scratch = join(work, 'tmp');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const byPlace = new Map(mutants.map((mutant) => [mutant.place, mutant]));
  const chosen = mutants.flatMap(({ place }) => ['--re', `^${place.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`]);
  const args = ['mutants', '--package', basename(part.source), '--output', work, '--jobs', '1', '--cap-lints', 'true'];
  // Timeouts detect tests that hang; they are long, because the machine does other work, too.
  const times = ['--minimum-test-timeout', '120', '--build-timeout', '600'];
  const seen = new Set();
  // Also for builds, which would otherwise build all tests for each mutant.
  const targets = tests.map((target) => `--cargo-arg=${target}`);
  await follow([tool(cache), ...args, ...times, '--no-times', ...chosen, ...targets], {
    cwd: root,
    env: { CARGO_TARGET_DIR: join(cache, 'target'), CARGO_PROFILE_DEV_DEBUG: '0', TMPDIR: scratch },
    log: join(work, 'cargo-mutants.log'),
    deadline,
    look() {
      for (const { scenario, summary, log_path } of outcomes(join(work, 'mutants.out/outcomes.json'))) {
        const mutant = byPlace.get(scenario.Mutant?.name);
        if (!mutant || seen.has(mutant)) continue;
        seen.add(mutant);
        const killed = summary !== 'MissedMutant';
        const log = () => readFileSync(join(work, 'mutants.out', log_path), 'utf8');
        onResult(mutant, killed, killed ? killer(part, log()) : undefined);
      }
    },
  });
}

/** cargo-mutants rewrites the file for each result, so it may be incomplete. */
function outcomes(file) {
  if (!existsSync(file)) return [];
  try {
    return JSON.parse(readFileSync(file, 'utf8')).outcomes;
  } catch {
    return [];
  }
}

/**
 * The file of the test that failed, by cargo's output; undefined if none did, such as for a mutant that does not compile.
 * cargo names the binary and not its source, because cargo-mutants wants all of its output.
 */
export function killer({ source }, log) {
  const library = basename(source).replaceAll('-', '_');
  let program;
  for (const line of log.split('\n')) {
    program = /^\s*Running `[^` ]*\/deps\/(\w+)-[0-9a-f]+`/.exec(line)?.[1] ?? program;
    const test = /^test (\S+) .*\bFAILED$/.exec(line)?.[1];
    if (test === undefined || program === undefined) continue;
    const [module] = test.split('::');
    if (program === library) return `${source}/src/${module}.rs`;
    const files = [`${source}/tests/${program}.rs`, `${source}/tests/${program}/${module}.rs`];
    return files.find((file) => existsSync(join(root, file)));
  }
  return undefined;
}

function tool(cache) {
  const directory = join(cache, `cargo-mutants-${VERSION}`);
  const program = join(directory, 'bin/cargo-mutants');
  if (!existsSync(program)) {
    run('cargo', ['install', 'cargo-mutants', '--version', VERSION, '--locked', '--root', directory]);
  }
  return program;
}
