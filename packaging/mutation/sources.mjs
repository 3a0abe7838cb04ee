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

/** What the results of a part depend on, as it is now: see `results.mjs`. */
export function digestsOf(part) {
  const rust = part.kind === 'rust';
  const sources = filesIn(part.source, rust ? '.rs' : '.ts');
  const tests = rust ? sources : part.tests.flatMap((path) => filesIn(path, '.ts'));
  const digests = (files, read) => new Map(files.map((file) => [file, digest(read(file))]));
  const bySource = digests(sources, (file) => withoutTests(textOf(file)));
  const byTest = digests(tests, textOf);
  return {
    source: (file) => bySource.get(file),
    test: (file) => byTest.get(file),
    all: digest(...byTest.values()),
  };
}

/** In Rust the tests of a module end its file. */
function withoutTests(text) {
  return text.split(/^#\[cfg\(test\)\]\nmod /m)[0];
}
