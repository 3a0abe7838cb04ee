/** The list of mutants that may survive, and how the mutation run reads it. The run itself is `npm run test:long`. */
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { killer } from '../../packaging/mutation/cargo.mjs';
import { asEntry, compare, parseListed } from '../../packaging/mutation/listed.mjs';
import { named, sampled } from '../../packaging/mutation/mutants.mjs';
import { PARTS } from '../../packaging/mutation/parts.mjs';
import { openResults } from '../../packaging/mutation/results.mjs';
import { temporaryDirectory } from '../unit/temp.js';
import { read, trackedFiles } from './project.js';

const FILE = 'src/a.ts';
const text = (...entries: string[]) => `# Title\n\n## \`${FILE}\`\n\n${entries.join('\n')}\n`;
const mutant = (line: string, change: string, file = FILE) => ({ file, line, change });

describe('the list of mutants that may survive', () => {
  const entries = parseListed(read('__test__/mutation.md'));

  it('every entry names a part that is mutated', () => {
    expect(entries.length).toBeGreaterThan(0);
    const sources = PARTS.map(({ source }) => `${source}/`);
    for (const { file } of entries)
      expect(
        sources.some((source) => file.startsWith(source)),
        file,
      ).toBe(true);
  });

  it('every entry names a line that exists', () => {
    const files = trackedFiles();
    const gone = entries.filter(({ file, line }) => {
      if (!files.includes(file)) return true;
      return !read(file)
        .split('\n')
        .some((text) => text.trim() === line);
    });
    expect(gone).toEqual([]);
  });
});

describe('entries', () => {
  it.each([
    ['a < b', 'EqualityOperator: a <= b'],
    [`\`\${a}: b\``, 'StringLiteral: ``'],
    ['x = a → b: c', 'replace + with -'],
  ])('an entry is read as written: %s', (line, change) => {
    const [entry] = parseListed(text(`${asEntry({ file: FILE, line, change })} A reason.`));
    expect(entry).toEqual({ file: FILE, line, change, reason: 'A reason.' });
  });

  it('an entry may be for all mutants of a line', () => {
    const [entry] = parseListed(text('- `a < b`: A reason.'));
    expect(entry).toMatchObject({ line: 'a < b', change: undefined });
  });

  it.each(['- `a`', '- `a`:', '- a: A reason.'])('an entry without a line or a reason is refused: %s', (line) => {
    expect(() => parseListed(text(line))).toThrow(/line 5, is no entry/);
  });
});

describe('the comparison', () => {
  const entries = parseListed(text('- `a` → `one`: A reason.', '- `b`: A reason.'));
  const mutants = [mutant('a', 'one'), mutant('a', 'two'), mutant('b', 'one'), mutant('b', 'two')];
  const outcome = (...killed: string[]) => {
    const { unlisted, removable } = compare(entries, mutants, ({ line, change }) =>
      killed.includes(`${line} ${change}`) ? 'killed' : 'survived',
    );
    return [unlisted.map(({ line, change }) => `${line} ${change}`), removable.map(({ line }) => line)];
  };

  it('the comparison finds survivors that are not listed', () => {
    expect(outcome()).toEqual([['a two'], []]);
  });

  it('the comparison finds entries without a survivor', () => {
    expect(outcome('a one', 'a two', 'b one')).toEqual([[], ['a']]);
    expect(outcome('a two', 'b one', 'b two')).toEqual([[], ['b']]);
  });

  it('the comparison reports nothing about mutants that were not tried', () => {
    expect(compare(entries, mutants, () => undefined)).toEqual({ unlisted: [], removable: [] });
    expect(compare(entries, [], () => undefined, mutants)).toEqual({ unlisted: [], removable: [] });
  });

  it('the comparison finds entries without a mutant', () => {
    expect(compare(entries, [], () => undefined).removable).toEqual(entries);
  });
});

describe('the test that killed a mutant of a crate', () => {
  const part = { source: 'crates/derp-tls' };
  const ran = (binary: string, ...lines: string[]) =>
    [
      '     Running `/toolchain/bin/rustc --crate-name derp_tls --extern webpki=/target/debug/deps/libwebpki-0a1b.rmeta`',
      `     Running \`/target/debug/deps/${binary}-7a575cd12588bf04\``,
      'test keys::tests::debug_shows_no_secret ... ok',
      ...lines,
    ].join('\n');

  it.each([
    ['derp_tls', 'keys::tests::rfc_8448', 'src/keys.rs'],
    ['derp_tls', 'chain_tests::only_an_authority_may_sign', 'src/chain_tests.rs'],
    ['handshakes', 'hellos_are_bounded', 'tests/handshakes.rs'],
    ['interop', 'go::go_is_called', 'tests/interop/go.rs'],
  ])('the file is known by the binary and the name: %s, %s', (binary, test, file) => {
    expect(killer(part, ran(binary, `test ${test} ... FAILED`))).toBe(`crates/derp-tls/${file}`);
  });

  it('the tests of a module may be in a file of their own', () => {
    const log = ran('derp_proto', 'test http_head::tests::raw_derp ... FAILED');
    expect(killer({ source: 'crates/derp-proto' }, log)).toBe('crates/derp-proto/src/http_head/tests.rs');
  });

  it('no file is known if nothing failed', () => {
    expect(killer(part, ran('derp_tls'))).toBeUndefined();
    expect(killer(part, 'error: could not compile `derp-tls`')).toBeUndefined();
  });
});

describe('samples', () => {
  const many = (from: number) => named(Array.from({ length: 500 }, (_, at) => mutant(`line ${from + at}`, 'x')));

  it('equal seeds give equal samples, and different seeds different ones', () => {
    const ids = (seed: string) => sampled(many(0), 100, seed).map(({ id }) => id);
    expect(ids('a')).toHaveLength(100);
    expect(ids('a')).toEqual(ids('a'));
    expect(ids('a')).not.toEqual(ids('b'));
  });

  it('a sample keeps most mutants that an edit leaves in place', () => {
    const before = new Set(sampled(many(0), 100, 'a').map(({ id }) => id));
    const kept = sampled(many(10), 100, 'a').filter(({ id }) => before.has(id));
    expect(kept.length).toBeGreaterThan(80);
  });

  it('equal changes of equal lines have different ids', () => {
    const [one, two] = named([mutant('a', 'x'), mutant('a', 'x')]);
    expect(one?.id).not.toBe(two?.id);
  });
});

describe('results', () => {
  const one = { id: 'one', file: FILE };
  const two = { id: 'two', file: FILE };
  const directory = temporaryDirectory();
  let count = 0;
  const digests = {
    source: (file: string) => file,
    test: (file: string) => `digest-of-${file}`,
    text: (_file: string) => 'one\ntwo\n',
    tests: ['a.spec.ts', 'b.spec.ts'],
    all: 'all',
  };

  function reopened(later: Partial<typeof digests>): (string | undefined)[] {
    count += 1;
    const place = join(directory, String(count));
    const results = openResults(place, digests);
    results.add(one, 'killed', 'a.spec.ts');
    results.add(two, 'survived');
    // As a run that is killed leaves it.
    appendFileSync(join(place, 'results.jsonl'), '{"id":"tw');
    const again = openResults(place, { ...digests, ...later });
    return [one, two].map((mutant) => again.get(mutant)?.status);
  }

  it('a result is kept from one run to the next', () => {
    expect(reopened({})).toEqual(['killed', 'survived']);
  });

  it('a result is dropped when the source changes', () => {
    expect(reopened({ source: () => 'another' })).toEqual([undefined, undefined]);
  });

  it.each(['one\n', 'two\none\n', 'one\nTWO\n'])(
    'a killed mutant loses its result when its tests change: %j',
    (text) => {
      expect(reopened({ test: () => 'another', text: () => text })).toEqual([undefined, 'survived']);
    },
  );

  it('a killed mutant keeps its result when its tests only gain lines', () => {
    const text = () => 'before\none\nbetween\ntwo\nbehind\n';
    expect(reopened({ test: () => 'another', text })).toEqual(['killed', 'survived']);
  });

  it('a survivor loses its result when any test changes', () => {
    expect(reopened({ all: 'another' })).toEqual(['killed', undefined]);
  });

  it.each([
    ['all have only grown', 'before\none\ntwo\n', 'killed'],
    ['one has lost a line', 'one\n', undefined],
  ])('a killed mutant keeps its result, if nothing says which tests killed it and %s: %s', (_what, later, status) => {
    count += 1;
    const place = join(directory, String(count));
    openResults(place, digests).add(one, 'killed');
    const test = (file: string) => (file === 'b.spec.ts' ? 'another' : digests.test(file));
    const again = openResults(place, { ...digests, test, text: () => later, all: 'another' });
    expect(again.get(one)?.status).toBe(status);
  });
});
