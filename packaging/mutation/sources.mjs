/** The files of a folder of the clone, and their digests. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join, relative } from 'node:path';
import { root } from '../ensure.mjs';
import { digest } from './mutants.mjs';

/** The paths of the files within the clone, sorted. */
export function filesIn(path, extension) {
  if (statSync(join(root, path)).isFile()) return [path];
  return readdirSync(join(root, path), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(extension))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
    .sort();
}

/** The files of a part that are mutated. */
export function sourcesOf({ source, kind, flat = false, except = [] }) {
  return filesIn(source, kind === 'rust' ? '.rs' : '.ts').filter((file) => {
    const within = relative(source, file);
    return !except.includes(within) && !(flat && within.includes('/'));
  });
}

export function textOf(file) {
  return readFileSync(join(root, file), 'utf8');
}

/** The digests that the results of a part depend on: see `results.mjs`. */
export function digestsOf(part) {
  const sources = sourcesOf(part);
  const tests = part.tests?.flatMap((path) => filesIn(path, '.ts')) ?? filesIn(part.source, '.rs');
  const bySource = new Map(sources.map((file) => [file, digest(codeOf(textOf(file)))]));
  const texts = new Map(tests.map((file) => [file, textOf(file)]));
  const byTest = new Map(tests.map((file) => [file, digest(texts.get(file))]));
  return {
    source: (file) => bySource.get(file),
    test: (file) => byTest.get(file),
    text: (file) => texts.get(file),
    tests,
    all: digest(...byTest.values()),
  };
}

/** What can be mutated: no comments on lines of their own, and in Rust not the tests, which end the file of a module. */
function codeOf(text) {
  const [code] = text.split(/^#\[cfg\((?:test|all\(test, .*)\)\]\nmod /m);
  return code.replace(/^[ \t]*\/\*[\s\S]*?\*\/[ \t]*\n/gm, '').replace(/^[ \t]*\/\/.*\n/gm, '');
}
