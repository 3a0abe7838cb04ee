/** Values of the settings of the mesh and of NATS that are refused. */

export const BAD_MESH = {
  'mesh.discover': [
    ...['x', '{}', [5], [{}], [{ dns: { name: 'a' }, file: '/f' }], [{ other: 1 }], 5, null],
    ...[[{ dns: {} }], [{ dns: 'a' }], [{ dns: { name: '192.0.2.1' } }], [{ dns: { name: 'a', port: 0 } }]],
    ...[[{ dns: { name: 'a b' } }], [{ dns: { name: 'a', tlsName: '[::1]' } }], [{ dns: { name: 'a', ttl: 1 } }]],
    ...[[{ dns: { name: 'a', server: 'ns.test' } }], [{ dns: { name: 'a', server: '127.0.0.1:0' } }]],
    ...[[{ srv: '' }], [{ srv: 5 }], [{ srv: { name: '::1' } }], [{ file: '' }], [{ file: '~/relays' }]],
    ...[[{ nats: false }], [{ nats: 'x' }], [{ nats: true, file: '/f' }]],
  ],
  'mesh.drainDelay': ['', '2', '-1s', -1, null],
  'mesh.mode': ['', 'Full', 'on demand', true, null],
  'mesh.idle': ['', '2', '-1s', -1, null],
  'mesh.region': ['', 'a.b', 'a b', '*', '>', 'é', 'a'.repeat(65), 5, null],
  'mesh.advertise.address': ['', '[::1]', 'a:443', 'a b', 5, null],
  'mesh.advertise.port': [0, '0', 65536, 'x', 1.5, null],
  'mesh.advertise.tlsName': ['', '[::1]', 'a/b', 5, null],
  'nats.servers': [
    ...[
      'a b',
      'http://a',
      'ws://a',
      'a:0',
      'a:65536',
      '::1',
      '[a]:1',
      'nats://',
      'nats://a/b',
      'nats://a?b',
      5,
      null,
      [5],
    ],
    ...['nats://user:a-password-that-is-secret@ho st', 'user:a-password-that-is-secret@', ':secret@a', 'a%@b', 'a,x y'],
  ],
  'nats.credsFile': ['', '~/relay.creds', 5, null],
  'nats.tls.caFile': ['', '~/ca.pem', 5, null],
};

const meshKey = 'ab'.repeat(32);

/** Settings that contradict each other, with the setting that is to blame. */
export const MESH_CONTRADICTIONS: [string, object, string][] = [
  ['NATS without a mesh key', { nats: { servers: 'a' } }, 'nats.servers'],
  ['a source in NATS without servers', { meshKey, mesh: { discover: [{ nats: true }] } }, 'mesh.discover'],
  [
    'two sources in NATS',
    { meshKey, mesh: { discover: [{ nats: true }, { nats: true }] }, nats: { servers: 'a' } },
    'mesh.discover',
  ],
  ['keys on demand without NATS', { meshKey, mesh: { mode: 'on-demand' } }, 'mesh.mode'],
  ['credentials without servers', { meshKey, nats: { credsFile: '/c' } }, 'nats.credsFile'],
  ['authorities without servers', { meshKey, nats: { tls: { caFile: '/c' } } }, 'nats.tls.caFile'],
  ['a user and credentials', { meshKey, nats: { servers: 'u:p@a', credsFile: '/c' } }, 'nats.credsFile'],
];
