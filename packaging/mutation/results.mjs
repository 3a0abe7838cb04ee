/**
 * Keeps the result of each mutant in the cache, one line each, written as it is found, so that an interrupted run loses
 * nothing.
 *
 * A killed mutant stays killed while its source and the test file that killed it are unchanged. A surviving mutant is
 * tried again after any change of the tests.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** `source` and `test` return the digest of a mutated file and of a test file; `all` is the digest of all tests. */
export function openResults(file, { source, test, all }) {
  const results = new Map();
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  for (const line of lines) {
    const result = parsed(line);
    if (result && holds(result)) results.set(result.id, result);
  }
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, [...results.values()].map((result) => `${JSON.stringify(result)}\n`).join(''));
  return {
    get: (mutant) => results.get(mutant.id),
    /** `by` is the test file that killed the mutant, if it is known. */
    add(mutant, status, by) {
      const known = by !== undefined && test(by) !== undefined;
      const tests = known ? { by, tests: test(by) } : { tests: all };
      const result = { id: mutant.id, status, file: mutant.file, source: source(mutant.file), ...tests };
      results.set(result.id, result);
      appendFileSync(file, `${JSON.stringify(result)}\n`);
    },
  };

  function holds(result) {
    return result.source === source(result.file) && result.tests === (result.by === undefined ? all : test(result.by));
  }
}

/** The last line may be incomplete if a run was killed. */
function parsed(line) {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
