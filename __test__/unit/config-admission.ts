/** Values of the settings of admission: valid ones with their results, and invalid ones. */
import type { SettingName } from '../../src/config.js';

export const ADMISSION_DEFAULTS = {
  policy: 'any',
  verifiers: [],
  deny: { apps: [] },
  cache: { allow: 300_000, deny: 30_000, grace: 900_000 },
  recheck: 600_000,
  questions: 64,
};

export const GOOD_ADMISSION: readonly [SettingName, unknown, unknown][] = [
  ['admission.verifiers', '[{"tailscaled": "/s"}]', [{ tailscaled: ['/s'] }]],
  ['admission.verifiers', [{ tailscaled: ['/s', '/t'], timeout: '1s' }], [{ tailscaled: ['/s', '/t'], timeout: 1000 }]],
  ['admission.verifiers', [{ tailscaled: true }], [{ tailscaled: true }]],
  ['admission.verifiers', [{ keys: '/k' }], [{ keys: '/k' }]],
  [
    'admission.verifiers',
    [{ url: 'https://a/verify', headers: { authorization: 'x' }, failOpen: 'true' }],
    [{ url: 'https://a/verify', headers: { authorization: 'x' }, failOpen: true }],
  ],
  ['admission.deny.apps', 'a,b', ['a', 'b']],
  ['admission.cache.grace', '1h', 3_600_000],
  ['admission.recheck', '0', 0],
];

export const BAD_ADMISSION = {
  'admission.policy': ['some', '', null],
  'admission.verifiers': [
    ...[
      'x',
      '{}',
      5,
      null,
      {},
      [5],
      [{}],
      [{ tailscaled: '' }],
      [{ tailscaled: [] }],
      [{ tailscaled: false }],
      [{ keys: '/k', url: 'https://a' }],
    ],
    ...[
      [{ url: 'ftp://a' }],
      [{ url: 'a/verify' }],
      [{ url: '' }],
      [{ keys: '/k', more: 1 }],
      Array(31).fill({ keys: '/k' }),
    ],
    ...[[{ keys: '/k', failOpen: true }], [{ tailscaled: '/s', headers: {} }], [{ keys: '/k', timeout: 'x' }]],
    ...[[{ url: 'https://a', headers: { 'a b': 'x' } }], [{ url: 'https://a', headers: { a: 'x\r\ny' } }]],
    [{ url: 'https://a', headersFile: '' }],
  ],
  'admission.deny.keys': ['', 5, null],
  'admission.deny.apps': [5, null, [5]],
  'admission.cache.allow': ['x', -1, null],
  'admission.cache.deny': ['x', -1, null],
  'admission.cache.grace': ['x', -1, null],
  'admission.recheck': ['x', -1, null],
  'admission.questions': [0, 'x', 10_001, null],
};
