import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { flagOf, type Gathered, gather as gatherFrom, variableOf } from '../../../src/cli/sources.js';
import { putSetting } from '../../../src/config/groups.js';
import { SETTINGS } from '../../../src/config.js';
import { ConfigError, type Problem } from '../../../src/errors.js';
import { temporaryDirectory } from '../temp.js';

const directory = temporaryDirectory();

function gather(flags: Record<string, unknown>, env: NodeJS.ProcessEnv, path?: string): Promise<Gathered> {
  return gatherFrom({ ...flags, ...(path !== undefined && { config: path }) }, env);
}

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

describe('gathering settings', () => {
  const yaml = file('config.yaml', 'httpPort: 1\nstunPort: 2\nhome: file\nqueueDepth: 9\n');
  const env = { DERPKIT_STUN_PORT: '3', DERPKIT_HOME: 'variable', HOME: '/root', DERPKIT_LOG_LEVEL: '' };
  const given = { home: 'flag', derp: false, stun: true };

  it('flags override variables, and variables override the file', async () => {
    const { config } = await gather(given, env, yaml);
    expect(config).toEqual({ httpPort: 1, stunPort: '3', home: 'flag', queueDepth: 9, derp: false, stun: true });
  });

  it('a setting is spelt as it was given', async () => {
    const { spelling } = await gather(given, env, yaml);
    expect(spelling('home')).toBe('--home');
    expect(spelling('derp')).toBe('--no-derp');
    expect(spelling('stun')).toBe('--stun');
    expect(spelling('stunPort')).toBe('DERPKIT_STUN_PORT');
    expect(spelling('httpPort')).toBe('config.yaml: httpPort');
  });

  it('a setting that was not given is spelt as its flag', async () => {
    const { spelling } = await gather(given, env, yaml);
    expect(spelling('listen')).toBe('--listen');
    // An empty variable gives nothing.
    expect(spelling('logLevel')).toBe('--log-level');
  });

  it('without a source there are no settings', async () => {
    expect((await gather({}, {})).config).toEqual({});
  });

  it('each setting may come from a variable', async () => {
    const all = Object.fromEntries(SETTINGS.map(({ name }) => [variableOf(name), `value of ${name}`]));
    const expected = {};
    for (const { name } of SETTINGS) putSetting(expected, name, `value of ${name}`);
    expect((await gather({}, all)).config).toEqual(expected);
  });

  it('an unknown setting is kept, so that the check names it', async () => {
    const path = file('unknown.yaml', 'nope: 1\n');
    const gathered = await gather({}, { DERPKIT_NOPE: 'x' }, path);
    expect(gathered.config).toEqual({ nope: 1 });
    expect(gathered.spelling('nope')).toBe('unknown.yaml: nope');
    expect(gathered.strayVariables).toEqual(new Map([['DERPKIT_NOPE', undefined]]));
  });

  it('the settings of a group may come from several sources', async () => {
    const path = file('limits.yaml', 'limits: { connections: 1, perAddress: 2, exempt: [10.0.0.0/8] }\n');
    const variables = { DERPKIT_LIMITS_PER_ADDRESS: '3', DERPKIT_LIMITS_CONNECTIONS: '4' };
    const gathered = await gather({ limitsConnections: '5' }, variables, path);
    expect(gathered.config).toEqual({ limits: { connections: '5', perAddress: '3', exempt: ['10.0.0.0/8'] } });
    expect(gathered.spelling('limits.connections')).toBe('--limits-connections');
    expect(gathered.spelling('limits.perAddress')).toBe('DERPKIT_LIMITS_PER_ADDRESS');
    expect(gathered.spelling('limits.exempt')).toBe('limits.yaml: limits.exempt');
    expect(gathered.spelling('limits.meshKeys')).toBe('--limits-mesh-keys');
  });

  it('a group in the file that is not an object stays wrong, so that the check names it', async () => {
    const gathered = await gather({ limitsConnections: '5' }, {}, file('none.yaml', 'limits: 7\n'));
    expect(gathered.config).toEqual({ limits: 7 });
    expect(gathered.spelling('limits')).toBe('none.yaml: limits');
  });

  it('a name that every object has is no setting', async () => {
    expect((await gather({}, {}, file('empty.yaml', ''))).spelling('listen')).toBe('--listen');
  });
});

describe('service links of Kubernetes', () => {
  const env = { DERPKIT_STUN_PORT: 'udp://10.0.0.1:3478', DERPKIT_HTTP_PORT: 'tcp://10.0.0.1:80' };

  it('a port that is a service link is refused with the way out', async () => {
    await expect(gather({}, env)).rejects.toMatchObject({
      problems: ['DERPKIT_HTTP_PORT', 'DERPKIT_STUN_PORT'].map((path) => ({
        path,
        message: expect.stringContaining('enableServiceLinks: false'),
      })),
    });
  });

  it('a service link that a flag overrides is no fault', async () => {
    expect((await gather({ stunPort: '1', httpPort: '2' }, env)).config).toEqual({ stunPort: '1', httpPort: '2' });
  });
});

describe('names of settings', () => {
  it.each([
    ['listen', '--listen', 'DERPKIT_LISTEN'],
    ['httpPort', '--http-port', 'DERPKIT_HTTP_PORT'],
    ['limits.perAddress', '--limits-per-address', 'DERPKIT_LIMITS_PER_ADDRESS'],
    ['tcpKeepaliveTime', '--tcp-keepalive-time', 'DERPKIT_TCP_KEEPALIVE_TIME'],
  ])('the flag and the variable of %s follow from its name', (setting, flag, variable) => {
    expect(flagOf(setting)).toBe(flag);
    expect(variableOf(setting)).toBe(variable);
  });

  it('flags and variables of different settings differ', () => {
    const of = (name: (setting: string) => string) => new Set(SETTINGS.map((setting) => name(setting.name))).size;
    expect(of(flagOf)).toBe(SETTINGS.length);
    expect(of(variableOf)).toBe(SETTINGS.length);
  });
});

describe('config files', () => {
  const expected = { listen: ':8443', stun: false, certificate: { chain: 'c', key: 'k' } };

  it.each([
    ['a.yaml', '# words\nlisten: ":8443"\nstun: false\ncertificate:\n  chain: c\n  key: k\n'],
    ['a.yml', 'listen: :8443\nstun: false\ncertificate: { chain: c, key: k }\n'],
    ['a.conf', 'listen: ":8443"\nstun: false\ncertificate: { chain: c, key: k }'],
    ['a', '{"listen": ":8443", "stun": false, "certificate": {"chain": "c", "key": "k"}}'],
    ['a.json', '{"listen": ":8443", "stun": false, "certificate": {"chain": "c", "key": "k"}}'],
    [
      'b.json',
      '// words\n{\n  "listen": ":8443", /* more */ "stun": false,\n  "certificate": {"chain": "c", "key": "k",},\n}',
    ],
    ['a.jsonc', '{"listen": ":8443", "stun": false, "certificate": {"chain": "c", "key": "k"}}\n'],
    ['anchors.yaml', 'certificate: &pair { chain: c, key: k }\nlisten: ":8443"\nstun: false\n'],
  ])('a config file is read: %s', async (name, text) => {
    expect((await gather({}, {}, file(name, text))).config).toEqual(expected);
  });

  it.each([
    ['empty.yaml', ''],
    ['comment.yaml', '# nothing\n'],
    ['null.json', 'null'],
    ['none.json', '{}'],
  ])('%s has no settings', async (name, text) => {
    expect((await gather({}, {}, file(name, text))).config).toEqual({});
  });
});

describe('unreadable config files', () => {
  it.each<[string, string, number]>([
    ['bad1.yaml', 'a: 1\nb: [1\n', 2],
    ['bad2.yaml', 'a: 1\nb: 2\na: 3\n', 3],
    ['bad3.yaml', 'a:\n\tb: 1\n', 2],
    ['bad4.yaml', 'a: 1\n---\nb: 2\n', 2],
    ['bad5.yaml', '# words\n\nhome: blank\nlisten: *:443\n', 4],
    ['bad6.yaml', 'a: *x\nb: &x 1\n', 1],
    ['bad1.json', '{\n  "a": 1\n  "b": 2\n}', 3],
    ['bad2.json', '{\n  "a": 1,\n', 3],
    ['bad3.json', '{"a": 1}\n{"b": 2}', 2],
    ['bad4.json', '', 1],
    ['bad5.jsonc', '{\n\n  a: 1\n}', 3],
  ])('the faulty line of a config file is named: %s', async (name, text, line) => {
    const [problem] = await problemsOf(file(name, text));
    expect(problem?.path).toBe(`${name}:${line}`);
    expect(problem?.message).toMatch(/\S/);
  });

  it('every faulty line is named', async () => {
    expect((await problemsOf(file('two.yaml', 'a: 1\na: 2\nb: *x\n'))).map(({ path }) => path)).toEqual([
      'two.yaml:2',
      'two.yaml:3',
    ]);
  });

  it('text that begins with a star gets advice', async () => {
    expect((await problemsOf(file('star.yaml', 'listen: *:443\n')))[0]?.message).toMatch(/quotes/);
    // The text may be a secret.
    const [problem] = await problemsOf(file('secret.yaml', 'meshKey: *hunter2\n'));
    expect(problem).toMatchObject({ path: 'secret.yaml:1', message: expect.stringMatching(/quotes/) });
    expect(problem?.message).not.toMatch(/hunter2/);
  });

  it('aliases that stand for too many values are refused in words', async () => {
    const lines = ['a: &a [1, 1, 1, 1, 1]'];
    for (const [from, to] of ['ab', 'bc', 'cd', 'de'] as const) lines.push(`${to}: &${to} [${`*${from}, `.repeat(5)}]`);
    expect(await problemsOf(file('bomb.yaml', lines.join('\n')))).toEqual([
      { path: 'bomb.yaml:1', message: expect.stringMatching(/aliases.*too many values/) },
    ]);
  });

  it.each(['!!js/function x', '!secret x'])('a value with the unknown tag of %s is refused', async (value) => {
    expect(await problemsOf(file('tag.yaml', `derp: true\nhome: ${value}\n`))).toEqual([
      { path: 'tag.yaml:2', message: 'there is no such tag in YAML' },
    ]);
  });

  it.each([
    ['list.yaml', '- a\n- b\n'],
    ['text.yaml', 'just text'],
    ['number.json', '5'],
    ['list.json', '[]'],
  ])('%s is not an object of settings', async (name, text) => {
    expect(await problemsOf(file(name, text))).toEqual([
      { path: name, message: expect.stringMatching(/settings and their values/) },
    ]);
  });

  it('a missing file is reported as the fault of --config', async () => {
    expect(await problemsOf(join(directory, 'nowhere.yaml'))).toEqual([
      { path: '--config', message: expect.stringMatching(/no such file.*nowhere\.yaml/) },
    ]);
  });
});

async function problemsOf(path: string): Promise<readonly Problem[]> {
  try {
    await gather({}, {}, path);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as ConfigError).problems;
  }
  throw new Error('the file was read');
}
