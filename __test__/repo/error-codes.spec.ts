import { expect, it } from 'vitest';
import { ERROR_CODES } from '../../src/errors.js';
import { read, trackedFiles } from './project.js';

/** The codes that stand in some text, quoted. */
function codesIn(text: string): string[] {
  return [...text.matchAll(/["'](ERR_[A-Z_]+)["']/g)].map(([, code]) => code as string);
}

it.each([
  ['the crates', /^crates\/.*\.rs$/],
  ['the sources', /^src\/.*\.ts$/],
])('errors of %s have codes of the one table', (_, pattern) => {
  const codes = trackedFiles()
    .filter((path) => pattern.test(path))
    .flatMap((path) => codesIn(read(path)));
  expect(codes).not.toEqual([]);
  expect(codes.filter((code) => !Object.hasOwn(ERROR_CODES, code))).toEqual([]);
});
