/**
 * What is mutated, and which tests have to notice: for a folder (`flat`: without its folders) its unit tests, and where they
 * are not what tests it, the suites that do. A part with `sample` is too large for every run: so many of its mutants are
 * tried, chosen by a seed, and the rest is left alone.
 */
export const PARTS = [
  { name: 'registry', kind: 'typescript', source: 'src/registry', tests: ['__test__/unit/registry'] },
  { name: 'http', kind: 'typescript', source: 'src/http', tests: ['__test__/unit/http'] },
  {
    name: 'control',
    kind: 'typescript',
    source: 'src/control',
    flat: true,
    tests: ['__test__/unit/control', '__test__/conformance/certificate-files.spec.ts'],
  },
  {
    name: 'admission',
    kind: 'typescript',
    source: 'src/control/admission',
    tests: ['__test__/unit/control/admission', ...conformance('admission', 'admission-beyond', 'admission-hook')],
  },
  {
    name: 'acme',
    kind: 'typescript',
    source: 'src/control/acme',
    // An authority that is worth the name is a program in Go: `__test__/interop/acme*.spec.ts` tests these.
    except: ['authority.ts', 'manager.ts'],
    tests: ['__test__/unit/control/acme', '__test__/unit/control/keeper.spec.ts'],
  },
  {
    name: 'plane-js',
    kind: 'typescript',
    source: 'src/plane/js',
    tests: [
      '__test__/unit/plane',
      ...conformance('relay', 'login', 'frames', 'peer-gone', 'mesh', 'drops', 'stun', 'tap'),
    ],
    sample: 300,
  },
  { name: 'derp-proto', kind: 'rust', source: 'crates/derp-proto', sample: 300 },
  { name: 'derp-tls', kind: 'rust', source: 'crates/derp-tls', sample: 300 },
];

/** Another seed is another sample: the list of survivors belongs to this one. */
export const SEED = 'derpkit-1';

function conformance(...names) {
  return names.map((name) => `__test__/conformance/${name}.spec.ts`);
}
