/**
 * Keeps the result of each mutant in the cache, one line each, written as it is found, so that an interrupted run loses
 * nothing.
 *
 * A killed mutant stays killed while its source is unchanged and the test file that killed it has only grown: an added
 * test saves no mutant. Where that file is not known, such as for a mutant that hangs, it is for all files with tests. A
 * surviving mutant is tried again after any change of the tests.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * `source` returns the digest of a mutated file, `test` that of a test file, `text` its text; `tests` are all test files,
 * and `all` is their digest. Everything is kept in `directory`.
 */
export function openResults(directory, { source, test, text, tests, all }) {
  const file = join(directory, 'results.jsonl');
  const results = new Map();
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  for (const line of lines) {
    const result = parsed(line);
    if (result && holds(result)) results.set(result.id, result);
  }
  mkdirSync(directory, { recursive: true });
  writeFileSync(file, [...results.values()].map((result) => `${JSON.stringify(result)}\n`).join(''));
  return {
    get: (mutant) => results.get(mutant.id),
    /** `by` is the test file that killed the mutant, if it is known. */
    add(mutant, status, by) {
      const known = by !== undefined && test(by) !== undefined;
      const held = known ? { by, tests: keep(by) } : { tests: status === 'killed' ? keepAll() : all };
      const result = { id: mutant.id, status, file: mutant.file, source: source(mutant.file), ...held };
      results.set(result.id, result);
      appendFileSync(file, `${JSON.stringify(result)}\n`);
    },
  };

  function holds(result) {
    if (result.source !== source(result.file)) return false;
    if (result.by !== undefined) return stillHas(result.by, result.tests);
    if (result.status !== 'killed' || result.tests === all) return result.tests === all;
    const files = parsed(kept(result.tests));
    return files !== undefined && Object.entries(files).every(([by, then]) => stillHas(by, then));
  }

  /** Whether a file with tests has all the lines that it had when its digest was `then`. */
  function stillHas(by, then) {
    const now = test(by);
    return now === then || (now !== undefined && hasOnlyGrown(kept(then), text(by)));
  }

  /** Remembers a file with tests as it is; its digest. */
  function keep(by) {
    const digest = test(by);
    if (!existsSync(join(directory, digest))) writeFileSync(join(directory, digest), text(by));
    return digest;
  }

  /** Remembers all files with tests; their digest. */
  function keepAll() {
    const path = join(directory, all);
    if (!existsSync(path)) writeFileSync(path, JSON.stringify(Object.fromEntries(tests.map((by) => [by, keep(by)]))));
    return all;
  }

  function kept(digest) {
    const path = join(directory, digest);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }
}

/** Whether all lines of a text are in another one, in their order. */
function hasOnlyGrown(before, after) {
  if (before === undefined) return false;
  const lines = before.split('\n');
  let found = 0;
  for (const line of after.split('\n')) if (line === lines[found]) found += 1;
  return found === lines.length;
}

/** Undefined for what is incomplete, as the last line of a run that was killed may be. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
