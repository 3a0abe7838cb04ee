/**
 * What is mutated, and which tests have to notice. A part with `sample` is too large for every run: so many of its mutants
 * are tried, chosen by a seed, and the rest is left alone.
 */
export const PARTS = [
  { name: 'registry', kind: 'typescript', source: 'src/registry', tests: ['__test__/unit/registry'] },
  { name: 'http', kind: 'typescript', source: 'src/http', tests: ['__test__/unit/http'] },
  { name: 'control', kind: 'typescript', source: 'src/control', tests: ['__test__/unit/control'] },
  { name: 'plane-js', kind: 'typescript', source: 'src/plane/js', tests: ['__test__/unit/plane'], sample: 300 },
  { name: 'derp-proto', kind: 'rust', source: 'crates/derp-proto', sample: 300 },
  { name: 'derp-tls', kind: 'rust', source: 'crates/derp-tls', sample: 300 },
];

/** Another seed is another sample: the list of survivors belongs to this one. */
export const SEED = 'derpkit-1';
