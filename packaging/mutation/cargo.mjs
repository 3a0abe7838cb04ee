/** Runs Rust mutants with cargo-mutants, which is installed in the cache. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { basename, dirname, join, relative } from 'node:path';
import { fail, root, run } from '../ensure.mjs';
import { follow } from './follow.mjs';
import { brief, named } from './mutants.mjs';
import { filesIn, sourcesOf, textOf } from './sources.mjs';

const VERSION = '27.1.0';

/**
 * Which tests run, with how many random cases for each property. Each stage tries only the mutants that survive the
 * quicker ones before it: the tests in the source are first, then the test programs that name the module, then all.
 */
const STAGES = [
  { targets: () => ['--lib'], cases: 32 },
  { targets: (part, file) => programsOf(part, file).flatMap((name) => ['--test', name]), cases: 32 },
  { targets: () => ['--tests'], cases: 256 },
];

/** The state of a mutant that has survived the stages before this one. */
const pending = (stage) => `pending ${stage}`;

/** Memory that a mutant may ask for, in KiB: some never stop asking. */
const MOST_MEMORY = 8 << 20;

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
  for (const [stage, { targets, cases }] of STAGES.entries()) {
    const left = mutants.filter((mutant) => nextStage(statusOf(mutant)) <= stage);
    const survived = stage === STAGES.length - 1 ? 'survived' : pending(stage + 1);
    for (const [joined, group] of groupedBy(left, ({ file }) => targets(part, file).join(' '))) {
      if (joined === '' || Date.now() > deadline) continue;
      await tryWith({ targets: joined.split(' '), cases }, part, group, cache, deadline, (mutant, killed, by) => {
        onResult(mutant, killed ? 'killed' : survived, by);
      });
    }
  }
}

function groupedBy(mutants, keyOf) {
  const groups = new Map();
  for (const mutant of mutants) {
    const key = keyOf(mutant);
    groups.set(key, [...(groups.get(key) ?? []), mutant]);
  }
  return groups;
}

/** The test programs that name the module that a file belongs to. */
function programsOf(part, file) {
  const tests = `${part.source}/tests`;
  const [module] = relative(`${part.source}/src`, file).replace(/\.rs$/, '').split('/');
  const name = new RegExp(`\\b${unitOf(part)}::${module}\\b`);
  const programs = filesIn(tests, '.rs').filter((path) => dirname(path) === tests && name.test(textOf(path)));
  return programs.map((path) => basename(path, '.rs'));
}

/** The name of the part's crate in its code. */
function unitOf(part) {
  return basename(part.source).replaceAll('-', '_');
}

/** The stage in which a mutant is tried next; Infinity if its result is known. */
function nextStage(status) {
  if (status === undefined) return 0;
  const stage = STAGES.findIndex((_, index) => status === pending(index));
  return stage === -1 ? Infinity : stage;
}

async function tryWith({ targets, cases }, part, mutants, cache, deadline, onResult) {
  const work = join(cache, 'work', part.name);
  const scratch = join(work, 'tmp');
  rmSync(work, { recursive: true, force: true });
  mkdirSync(scratch, { recursive: true });
  const byPlace = new Map(mutants.map((mutant) => [mutant.place, mutant]));
  const chosen = mutants.flatMap(({ place }) => ['--re', `^${place.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}$`]);
  const args = ['mutants', '--package', basename(part.source), '--output', work, '--jobs', '1'];
  // Timeouts detect tests that hang; they are long, because the machine does other work, too.
  const times = ['--minimum-test-timeout', '120', '--build-timeout', '600'];
  const seen = new Set();
  // Also for builds, which would otherwise build all tests for each mutant.
  const chosenTests = targets.map((target) => `--cargo-arg=${target}`);
  const limited = ['sh', '-c', `ulimit -v ${MOST_MEMORY} 2>/dev/null; exec "$0" "$@"`];
  await follow([...limited, tool(cache), ...args, ...times, '--no-times', ...chosen, ...chosenTests], {
    cwd: root,
    env: {
      CARGO_TARGET_DIR: join(cache, 'target'),
      CARGO_PROFILE_DEV_DEBUG: '0',
      // The random cases are the same each time, and the first one that fails is enough.
      PROPTEST_CASES: `${cases}`,
      PROPTEST_RNG_SEED: '1',
      PROPTEST_MAX_SHRINK_ITERS: '0',
      PROPTEST_DISABLE_FAILURE_PERSISTENCE: 'true',
      TMPDIR: scratch,
    },
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
export function killer(part, log) {
  let program;
  for (const line of log.split('\n')) {
    program = /^\s*Running `[^` ]*\/deps\/(\w+)-[0-9a-f]+`/.exec(line)?.[1] ?? program;
    const test = /^test (\S+) .*\bFAILED$/.exec(line)?.[1];
    if (test === undefined || program === undefined) continue;
    const modules = test.split('::').slice(0, -1);
    if (program === unitOf(part)) return fileOf(`${part.source}/src`, modules);
    return fileOf(`${part.source}/tests`, [program, ...modules]);
  }
  return undefined;
}

/** The file that a module is in, or a module around it. */
function fileOf(folder, modules) {
  const file = `${folder}/${modules.join('/')}.rs`;
  return modules.length <= 1 || existsSync(join(root, file)) ? file : fileOf(folder, modules.slice(0, -1));
}

function tool(cache) {
  const directory = join(cache, `cargo-mutants-${VERSION}`);
  const program = join(directory, 'bin/cargo-mutants');
  if (!existsSync(program)) {
    run('cargo', ['install', 'cargo-mutants', '--version', VERSION, '--locked', '--root', directory]);
  }
  return program;
}
