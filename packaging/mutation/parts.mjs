/**
 * The parts of the code that are mutated, and the tests that must notice: for a folder (`flat`: without its subfolders)
 * its unit tests, or the suites that test it instead. A part with `sample` is too large for every run: only a number of
 * its mutants, selected by a seed, is tried.
 */
export const PARTS = [
  {
    name: 'registry',
    kind: 'typescript',
    source: 'src/registry',
    tests: ['__test__/unit/registry'],
    // A hundred thousand clients for each mutant would take long, and tell little.
    without: ['**/memory.spec.ts'],
  },
  { name: 'http', kind: 'typescript', source: 'src/http', tests: ['__test__/unit/http'] },
  {
    name: 'control',
    kind: 'typescript',
    source: 'src/control',
    flat: true,
    tests: ['__test__/unit/control'],
    // What the folders below it have of their own is tested there.
    without: ['acme/**', 'admission/**', 'directory/**', 'on-demand/**', 'keeper.spec.ts', 'dns-hook.spec.ts'].map(
      (path) => `**/unit/control/${path}`,
    ),
  },
  {
    name: 'admission',
    kind: 'typescript',
    source: 'src/control/admission',
    tests: ['__test__/unit/control/admission'],
  },
  {
    name: 'acme',
    kind: 'typescript',
    source: 'src/control/acme',
    // A useful authority needs a Go program, so `__test__/interop/acme*.spec.ts` tests these files.
    except: ['authority.ts', 'manager.ts'],
    tests: ['__test__/unit/control/acme', '__test__/unit/control/keeper.spec.ts'],
  },
  {
    name: 'plane-js',
    kind: 'typescript',
    source: 'src/plane/js',
    tests: [
      '__test__/unit/plane',
      // The quick ones, for each mutant of a line runs all tests that reach it.
      ...conformance('login', 'frames', 'peer-gone', 'drops', 'stun', 'tap', 'plane', 'certificates', 'failures'),
      ...conformance(
        'duplicates',
        'lookups',
        'lookup-bounds',
        'lookup-shares',
        'adopt',
        'limits',
        'tls-ends',
        'vanished',
        'keepalive',
      ),
    ],
    sample: 300,
  },
  { name: 'derp-proto', kind: 'rust', source: 'crates/derp-proto', sample: 300 },
  {
    name: 'derp-tls',
    kind: 'rust',
    source: 'crates/derp-tls',
    // It is a test itself, of which cargo-mutants does not know, because the fuzz target shares it.
    except: ['src/fuzz_records.rs'],
    sample: 300,
  },
];

/** The seed of the samples. Another seed selects another sample, and the list of survivors would not fit. */
export const SEED = 'derpkit-1';

function conformance(...names) {
  return names.map((name) => `__test__/conformance/${name}.spec.ts`);
}
