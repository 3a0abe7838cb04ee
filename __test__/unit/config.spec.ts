import { afterEach, describe, expect, it, vi } from 'vitest';
import { isPlainObject, putSetting } from '../../src/config/groups.js';
import {
  certDirOf,
  dataDirOf,
  keyFileOf,
  parseAddress,
  parseBool,
  parseSettings,
  type RelayConfig,
  SETTINGS,
  type SettingName,
} from '../../src/config.js';
import { ConfigError, type Problem } from '../../src/errors.js';
import { parseDuration } from '../../src/protocol/duration.js';
import { ADMISSION_DEFAULTS, BAD_ADMISSION, GOOD_ADMISSION } from './config-admission.js';
import { GOOD_GROUPS } from './config-groups-rows.js';
import { BAD_MESH, MESH_CONTRADICTIONS } from './config-mesh-rows.js';

const PRIVATE_KEY = `privkey:${'1'.repeat(64)}`;
const MESH_KEY = 'a'.repeat(64);

afterEach(() => {
  vi.unstubAllEnvs();
  vi.restoreAllMocks();
});

describe('defaults', () => {
  it('the defaults are these, and there are no other settings', () => {
    vi.spyOn(process, 'getuid').mockReturnValue(0);
    expect(parseSettings({})).toEqual({
      listen: { host: '', port: 443 },
      hostname: 'localhost',
      certificates: [],
      acme: { agreeTerms: false, atStart: true, dns: {}, ipAddresses: [], ipCerts: false },
      certMode: 'self-signed',
      httpPort: 80,
      stun: true,
      stunPort: 3478,
      derp: true,
      home: '',
      tcpKeepaliveTime: 600_000,
      tcpUserTimeout: 15_000,
      tcpWriteTimeout: 2_000,
      queueDepth: 32,
      plane: 'auto',
      workers: 0,
      meshWith: [],
      logFormat: 'text',
      logLevel: 'info',
      bootstrapDnsNames: [],
      unpublishedBootstrapDnsNames: [],
      disallowAppNames: [],
      acceptConnectionLimit: Number.POSITIVE_INFINITY,
      acceptConnectionBurst: Number.MAX_SAFE_INTEGER,
      debugTrustedCidrs: [],
      debugHint: false,
      debugHosts: [],
      roundTrips: true,
      senderCardinality: false,
      verboseDrops: [],
      debugLogs: false,
      proberDebugLogs: false,
      metrics: {},
      limits: {
        perAddress: 256,
        exempt: ['127.0.0.0/8', '::1/128'],
        partialBytes: 64 << 20,
        queuedBytes: 256 << 20,
        peerGonePairs: 1_000_000,
        meshKeys: 1_000_000,
      },
      mesh: { discover: [], mode: 'full', idle: 300_000, region: 'default', advertise: {}, drainDelay: 2_000 },
      nats: { servers: [], tls: {} },
      admission: ADMISSION_DEFAULTS,
    });
    const withoutDefault = [
      'acme.directory',
      'acme.dns.exec',
      'acme.eabKey',
      'acme.eabKeyFile',
      'acme.eabKid',
      'acme.email',
      'acme.profile',
      'certDir',
      'dataDir',
      'keyFile',
      'meshKeyFile',
      'privateKey',
      'meshKey',
      'rateConfig',
      'debugAllowIp',
      'debugKeyFile',
      'limits.connections',
      'metrics.listen',
      'metrics.tokenFile',
      'admission.deny.keys',
      'mesh.advertise.address',
      'mesh.advertise.port',
      'mesh.advertise.tlsName',
      'nats.credsFile',
      'nats.tls.caFile',
    ];
    const names = [...leaves(parseSettings({})), ...withoutDefault];
    expect(SETTINGS.map(({ name }) => name).sort()).toEqual(names.sort());
  });

  it('the data directory is the user’s own by default, except for root', () => {
    vi.spyOn(process, 'getuid').mockReturnValue(1000);
    vi.stubEnv('XDG_DATA_HOME', '/xdg');
    expect(dataDirOf(parseSettings({}))).toBe('/xdg/derpkit');
    vi.stubEnv('XDG_DATA_HOME', '');
    vi.stubEnv('HOME', '/home/me');
    expect(dataDirOf(parseSettings({}))).toBe('/home/me/.local/share/derpkit');
    // Below the working directory, wherever that is, a key would be lost with the next start.
    vi.stubEnv('HOME', 'me');
    expect(() => dataDirOf(parseSettings({}))).toThrow(ConfigError);
    expect(dataDirOf(parseSettings({ dataDir: '/data' }))).toBe('/data');
  });

  it('the relay’s files are in the data directory by default', () => {
    const settings = parseSettings({ dataDir: '/data' });
    expect(keyFileOf(settings)).toBe('/data/derper.key');
    expect(certDirOf(settings)).toBe('/data/certs');
    const named = parseSettings({ dataDir: '/data', keyFile: '/k', certDir: '/c' });
    expect([keyFileOf(named), certDirOf(named)]).toEqual(['/k', '/c']);
  });

  it('the help shows the actual defaults', () => {
    for (const { name, fallback, kind, description } of SETTINGS) {
      expect(description, name).toMatch(/\S/);
      if (fallback === '') continue;
      // The text of a default, given as text, comes to the default.
      const given = settingIn(parseSettings(configWith(name, fallback)), name);
      expect(given).toEqual(settingIn(parseSettings({}), name));
      expect(typeof given === 'boolean').toBe(kind === 'boolean');
    }
  });
});

describe('values of settings', () => {
  it.each<[SettingName | 'certificate', unknown, unknown]>([
    ['listen', '127.0.0.1:0', { host: '127.0.0.1', port: 0 }],
    ['listen', '[::1]:https', { host: '::1', port: 443 }],
    ['hostname', 'derp.example.com', 'derp.example.com'],
    ['hostname', '2001:db8::1', '2001:db8::1'],
    ['certMode', 'manual', 'manual'],
    ['certMode', 'off', 'off'],
    ['httpPort', '-1', -1],
    ['httpPort', 65535, 65535],
    ['stun', 'F', false],
    ['stun', false, false],
    ['derp', 'TRUE', true],
    ['stunPort', '0', 0],
    ['home', 'blank', 'blank'],
    ['home', 'https://example.com/x?y', 'https://example.com/x?y'],
    ['home', 'https://例え.test/', 'https://例え.test/'],
    ['tcpKeepaliveTime', '1h', 3_600_000],
    ['tcpUserTimeout', 0, 0],
    ['tcpWriteTimeout', '0', 0],
    ['tcpWriteTimeout', '1m30.5s', 90_500],
    ['tcpWriteTimeout', 250, 250],
    ['queueDepth', '1', 1],
    ['queueDepth', 65536, 65536],
    ['plane', 'js', 'js'],
    ['workers', '2', 2],
    ['logFormat', 'json', 'json'],
    ['logLevel', 'silent', 'silent'],
    ['privateKey', PRIVATE_KEY, PRIVATE_KEY],
    ['meshKey', ` ${MESH_KEY.toUpperCase()}\n`, MESH_KEY],
    ['meshWith', '', []],
    ['meshWith', 'a.test', [{ host: 'a.test', authority: 'a.test', port: 443, dialHost: 'a.test' }]],
    ['meshWith', 'a.test.', [{ host: 'a.test', authority: 'a.test', port: 443, dialHost: 'a.test.' }]],
    ['meshWith', ['a.test:443'], [{ host: 'a.test', authority: 'a.test', port: 443, dialHost: 'a.test' }]],
    ['meshWith', 'a:8443/10.0.0.1', [{ host: 'a', authority: 'a:8443', port: 8443, dialHost: '10.0.0.1' }]],
    ['meshWith', '[::1]', [{ host: '::1', authority: '[::1]', port: 443, dialHost: '::1' }]],
    ['meshWith', '[::1]:1', [{ host: '::1', authority: '[::1]:1', port: 1, dialHost: '::1' }]],
    ['meshWith', 'a/::1', [{ host: 'a', authority: 'a', port: 443, dialHost: '::1' }]],
    ['meshWith', 'a/[::1]', [{ host: 'a', authority: 'a', port: 443, dialHost: '::1' }]],
    [
      'meshWith',
      'a,b,',
      [
        { host: 'a', authority: 'a', port: 443, dialHost: 'a' },
        { host: 'b', authority: 'b', port: 443, dialHost: 'b' },
      ],
    ],
    ['certificate', { chain: 'c', key: 'k' }, { chain: 'c', key: 'k' }],
    ...GOOD_GROUPS,
    ...GOOD_ADMISSION,
  ])('%s accepts %j', (name, given, expected) => {
    expect(settingIn(parseSettings({ meshKey: MESH_KEY, ...configWith(name, given) }), name)).toEqual(expected);
  });

  it('an undefined setting takes its default', () => {
    expect(parseSettings({ httpPort: undefined, keyFile: undefined } as unknown as RelayConfig)).toEqual(
      parseSettings({}),
    );
  });
});

/** A configuration of one setting. */
function configWith(setting: string, value: unknown): RelayConfig {
  const config = {};
  putSetting(config, setting, value);
  return config;
}

function settingIn(settings: object, setting: string): unknown {
  return setting.split('.').reduce((at: unknown, name) => (at as Record<string, unknown>)[name], settings);
}

/** The names of all settings that have a value. */
function leaves(settings: object, before = ''): string[] {
  return Object.entries(settings).flatMap(([name, value]) =>
    isPlainObject(value) && name !== 'listen' ? leaves(value, `${before}${name}.`) : [before + name],
  );
}

/** Everything that each setting refuses. */
const BAD: Record<SettingName | 'certificate', readonly unknown[]> = {
  'metrics.listen': ['', 'localhost', '[x]:1', 65536, 1.5, -1, '1.2.3.4', null],
  'metrics.tokenFile': ['', '~/token', 1, null],
  listen: ['', 'localhost', '1.2.3.4', '::1:443', '[::1]', '[x]:1', 'a:b', 'a:65536', 'a:-1', 443, null],
  hostname: [
    '',
    'a b',
    'a..b',
    '.a',
    '--listen',
    'a/b',
    'a:443',
    '[::1]',
    'fe80::1%eth0',
    `${'a'.repeat(63)}.`.repeat(4),
    5,
    null,
  ],
  certMode: ['', 'auto', 'Manual', true, null],
  certificates: ['x', '{}', [5], [{}], [{ chainFile: 'c' }], [{ chainFile: 'c', keyFile: 'k', other: 1 }], 5, null],
  certDir: ['', '~', '~/certs', '~relay/certs', 5, null],
  keyFile: ['', '~/k', 5, null],
  dataDir: ['', 5, null],
  httpPort: ['', 'x', '80 ', '0x50', '1.5', -2, '65536', 65536, 1.5, Number.NaN, true, null],
  stun: ['', 'yes', 'on', 'tRue', 1, null],
  stunPort: ['', 'x', -1, '-1', 65536, null],
  derp: ['no', 0, null],
  home: ['x', 'Blank', 'ftp://x', 'http://', 'https://a b', 'https://a\u0001b', ' https://a', true, null],
  meshKeyFile: ['', 5, null],
  tcpKeepaliveTime: ['', '10', '-1s', '1 s', '1d', '1s ', -1, Number.NaN, Number.POSITIVE_INFINITY, true, null],
  tcpUserTimeout: ['x', '1h-1m', -0.5, null],
  tcpWriteTimeout: ['forever', '1e3s', -1, {}, null],
  queueDepth: [0, '0', '-1', -1, 65537, 1.5, 'x', '', null],
  workers: [-1, '-1', 257, 1.5, 'x', '', null],
  plane: ['', 'JS', 'rust', true, null],
  logFormat: ['', 'pretty', null],
  logLevel: ['', 'verbose', 'INFO', 30, null],
  privateKey: ['', 'x', PRIVATE_KEY.slice(8), `${PRIVATE_KEY}0`, `privkey:${'0'.repeat(64)}`, 5, null],
  meshKey: ['', 'x', MESH_KEY.slice(1), `${MESH_KEY}a`, `0x${MESH_KEY.slice(2)}`, 5, null],
  certificate: ['x', 5, null, []],
  bootstrapDnsNames: [5, null, [5]],
  unpublishedBootstrapDnsNames: [5, null, [5]],
  disallowAppNames: [5, null, [5]],
  acceptConnectionLimit: ['', 'x', '-1', -1, '1 ', 'nan', Number.NaN, null, true],
  acceptConnectionBurst: ['', 'x', '-1', -1, 1.5, null, true],
  rateConfig: ['', 5, null],
  debugAllowIp: ['', 5, null],
  debugTrustedCidrs: ['x', '10.0.0.0', '10.0.0.0/33', '::/129', 'fe80::%1/64', '10.0.0.0/8,x', 5, null],
  debugKeyFile: ['', 5, null],
  debugHint: ['yes', 5, null],
  debugHosts: [5, null, [5]],
  roundTrips: ['yes', 5, null],
  senderCardinality: ['yes', 5, null],
  verboseDrops: ['x', 'ab'.repeat(31), `nodekey:${'ab'.repeat(32)}`, `${'ab'.repeat(32)},`, ['x'], 5, null],
  debugLogs: ['yes', 5, null],
  proberDebugLogs: ['yes', 5, null],
  'acme.directory': ['', 'x', 'http://ca.example.com/dir', 5, null],
  'acme.agreeTerms': ['yes', 5, null],
  'acme.email': ['', 'x', 'a b@c', 5, null],
  'acme.profile': ['', 5, null],
  'acme.eabKid': ['', 5, null],
  'acme.eabKeyFile': ['', 5, null],
  'acme.eabKey': ['', 5, null],
  'acme.ipCerts': ['yes', 5, null],
  'acme.ipAddresses': ['x', '192.0.2.1,x', 'fe80::1%eth0', [5], 5, null],
  'acme.atStart': ['yes', 5, null],
  'acme.dns.exec': ['', 5, null],
  'limits.connections': [0, -1, 'x', '', 1.5, null],
  'limits.perAddress': [0, '0', 'x', '', null],
  'limits.exempt': ['x', '10.0.0.0', 5, null],
  'limits.partialBytes': [0, '0', '64MB', '64 MiB', '-1', 1.5, '', null],
  'limits.queuedBytes': ['1TiB', 0, null],
  'limits.peerGonePairs': [0, 'x', null],
  'limits.meshKeys': [0, 'x', null],
  ...BAD_ADMISSION,
  ...BAD_MESH,
  meshWith: ['a b', ' a', 'a/b/c', 'a/', '/b', 'a:b', 'a:0', 'a:65536', '::1', '[::1', '[a]', 'a:1/b:1', 5, null, [5]],
};

describe('bad values', () => {
  const all = Object.entries(BAD).flatMap(([name, values]) => values.map((value) => [name, value] as const));

  it.each(all)('%s refuses %j, with advice', (name, value) => {
    const problems = problemsOf(configWith(name, value));
    for (const { path } of problems) expect(`${path}.`.startsWith(`${name}.`)).toBe(true);
    expect(problems).not.toEqual([]);
    for (const { message } of problems) expect(message).toMatch(/^must be \S/);
    // Secrets are not quoted.
    if (typeof value === 'string' && value.length > 20) expect(JSON.stringify(problems)).not.toContain(value);
  });

  it('every setting has bad values in this table', () => {
    expect(Object.keys(BAD).sort()).toEqual([...SETTINGS.map(({ name }) => name), 'certificate'].sort());
  });

  it('a problem inside a value has the path of the part', () => {
    expect(problemsOf({ certificate: { chain: 1 } }).map(({ path }) => path)).toEqual([
      'certificate.chain',
      'certificate.key',
    ]);
  });
});

describe('a group of settings', () => {
  it('a group may have some of its settings', () => {
    expect(parseSettings({ limits: { perAddress: 5 } }).limits).toEqual({ ...parseSettings({}).limits, perAddress: 5 });
  });

  it.each([5, 'x', null, []])('a group is not %j', (value) => {
    const [problem, ...more] = problemsOf({ limits: value });
    expect(problem).toEqual({ path: 'limits', message: expect.stringMatching(/^must be an object of connections, /) });
    expect(more).toEqual([]);
  });

  it('a group accepts only its own names, and suggests the right one', () => {
    expect(problemsOf({ limits: { perAdress: 1, per_address: 1 }, limitsConnections: 1 })).toEqual([
      { path: 'limits.perAdress', message: 'there is no such setting; did you mean limits.perAddress?' },
      { path: 'limits.per_address', message: 'there is no such setting; it is called limits.perAddress' },
      { path: 'limitsConnections', message: 'there is no such setting; it is called limits.connections' },
    ]);
  });
});

const FILES = { chainFile: '/c', keyFile: '/k', default: true };

describe('contradictions', () => {
  it.each<[string, object, string]>([
    ['the plain port is the relay’s own', { listen: ':80' }, 'httpPort'],
    ['the plain port is the relay’s own, by default', { httpPort: 443 }, 'httpPort'],
    ['two private keys', { privateKey: PRIVATE_KEY, keyFile: '/k' }, 'privateKey'],
    ['two defaults', { certificates: [FILES, FILES] }, 'certificates'],
    ['certificates twice', { certificate: { chain: 'c', key: 'k' }, certificates: [FILES] }, 'certificate'],
    ['a source without a mesh key', { mesh: { discover: [{ file: '/relays' }] } }, 'mesh.discover'],
    ...MESH_CONTRADICTIONS,
    ['two mesh keys', { meshKey: MESH_KEY, meshKeyFile: '/m' }, 'meshKey'],
  ])('a contradiction is reported: %s', (_name, config, path) => {
    expect(problemsOf(config).map((problem) => problem.path)).toEqual([path]);
  });

  it.each<[string, object]>([
    ['without TLS there is no plain port beside it', { listen: ':80', certMode: 'off' }],
    ['two ports that the system chooses', { listen: ':0', httpPort: 0 }],
    ['no plain port', { listen: ':80', httpPort: -1 }],
  ])('no contradiction is reported: %s', (_name, config) => {
    expect(() => parseSettings(config)).not.toThrow();
  });
});

describe('all problems', () => {
  it('all problems are reported together, each once', () => {
    const problems = problemsOf({
      listen: 'x',
      httpPort: 'x',
      stun: 'x',
      logLevel: 'x',
      nope: 1,
      other: 2,
      certificate: {},
      privateKey: PRIVATE_KEY,
      keyFile: '/k',
    });
    expect(problems.map(({ path }) => path).sort()).toEqual(
      [
        'listen',
        'httpPort',
        'stun',
        'logLevel',
        'nope',
        'other',
        'certificate.chain',
        'certificate.key',
        'privateKey',
      ].sort(),
    );
  });

  it('every setting can have a problem at once', () => {
    const config = {};
    for (const [name, [value]] of Object.entries(BAD)) putSetting(config, name, value);
    expect(
      problemsOf(config)
        .map(({ path }) => path)
        .sort(),
    ).toEqual(Object.keys(BAD).sort());
  });
});

describe('Go’s spelling', () => {
  it.each([
    ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
    ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
    ...['', 'tRUE', 'yes', 'no', '2', ' 1', 'true '].map((text) => [text, undefined] as const),
  ])('a boolean is read as in Go: %j', (text, value) => {
    expect(parseBool(text)).toBe(value);
  });

  it.each<[string, number | undefined]>([
    ['0', 0],
    ['0s', 0],
    ['5s', 5000],
    ['+5s', 5000],
    ['1m30s', 90_000],
    ['1h2m3s4ms', 3_723_004],
    ['1s1m', 61_000],
    ['.5s', 500],
    ['5.s', 5000],
    ['1.5h', 5_400_000],
    ['1500us', 1.5],
    ['1500µs', 1.5],
    ['1500μs', 1.5],
    ['1000000ns', 1],
    ['', undefined],
    ['s', undefined],
    ['.s', undefined],
    ['1', undefined],
    ['1S', undefined],
    ['1d', undefined],
    ['1 s', undefined],
    [' 1s', undefined],
    ['1s ', undefined],
    ['1h-1m', undefined],
    ['1e3s', undefined],
    ['1_0s', undefined],
    ['-1s', undefined],
    ['--1s', undefined],
  ])('a duration is read as in Go: %j', (text, milliseconds) => {
    const parsed = parseDuration(text);
    if (milliseconds === undefined) expect(parsed).toBeUndefined();
    else expect(parsed).toBeCloseTo(milliseconds, 9);
  });

  it.each<[string, string, number]>([
    [':443', '', 443],
    [':', '', 0],
    ['0.0.0.0:80', '0.0.0.0', 80],
    ['[::]:443', '::', 443],
    ['[::1%lo]:1', '::1%lo', 1],
    ['[1.2.3.4]:5', '1.2.3.4', 5],
    ['localhost:http', 'localhost', 80],
    [':https', '', 443],
    ['host:00443', 'host', 443],
    [':65535', '', 65535],
  ])('an address is read as in Go: %j', (text, host, port) => {
    expect(parseAddress(text)).toEqual({ host, port });
  });

  it.each([
    '',
    'host',
    '1.2.3.4',
    '::1:443',
    '::1',
    '[::1]',
    '[::1]443',
    '[x]:1',
    '[::1:1',
    '::1]:1',
    'a:b',
    'a:-1',
    'a:+1',
    'a:65536',
    'a:0x10',
    'a:1:2',
  ])('an address is refused: %j', (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

function problemsOf(config: object): readonly Problem[] {
  try {
    parseSettings(config as RelayConfig);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  throw new Error('no problem was found');
}
