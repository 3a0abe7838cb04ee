/** The files of a folder of the clone, and their digests. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../ensure.mjs';
import { digest } from './mutants.mjs';

/** Their paths within the clone, in order. */
export function filesIn(path, extension) {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

export function textOf(file) {
  return readFileSync(join(root, file), 'utf8');
}

/** What the results of a part depend on: see `results.mjs`. */
export function digestsOf(part) {
  const tests = part.kind === 'rust' ? filesIn(part.source, '.rs') : part.tests.flatMap((path) => filesIn(path, '.ts'));
  const known = new Set(tests);
  return {
    source: remembered((file) => digest(withoutTests(textOf(file)))),
    test: remembered((file) => (known.has(file) ? digest(textOf(file)) : undefined)),
    all: digest(...tests.map(textOf)),
  };
}

/** In Rust the tests of a module end its file. */
function withoutTests(text) {
  return text.split(/^#\[cfg\(test\)\]\nmod /m)[0];
}

function remembered(make) {
  const made = new Map();
  return (file) => {
    if (!made.has(file)) made.set(file, exists(file) ? make(file) : undefined);
    return made.get(file);
  };
}

function exists(file) {
  return file !== undefined && statSync(join(root, file), { throwIfNoEntry: false }) !== undefined;
}
