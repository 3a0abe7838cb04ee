/** `derpkit serve`: settings from flags, variables and a file, and messages about them. */
import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { AsnConvert } from '@peculiar/asn1-schema';
import { Certificate, SubjectPublicKeyInfo } from '@peculiar/asn1-x509';
import { describe, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../src/control/x509.js';
import { pemPair } from '../helpers/relay.js';
import {
  type Bin,
  binPath,
  Command,
  type CommandOptions,
  lines,
  run,
  start,
  takenPort,
  temporary,
  withoutNative,
} from './commands.js';
import { askStun, fingerprintOf, get, handshake, keyOf, logIn, portOf } from './reach.js';

/** Ports of its own choice, and a data directory of the test's. */
function serve(directory: string, args: readonly string[] = [], options?: CommandOptions): Command {
  const own = ['--data-dir', join(directory, 'data'), '--listen=127.0.0.1:0', '--http-port=0', '--stun-port=0'];
  return start('derpkit', ['serve', ...own, ...args], options);
}

function file(directory: string, name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}

/** Flags for a certificate whose key is of this kind. Its signature is none of that key's, which servers do not look at. */
function manualPair(directory: string, kind: 'ed448'): string[] {
  const { publicKey, privateKey } = generateKeyPairSync(kind);
  const certificate = AsnConvert.parse(selfSignedCertificate(['relay.test'], 30, new Date()).der, Certificate);
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  certificate.tbsCertificate.subjectPublicKeyInfo = AsnConvert.parse(spki, SubjectPublicKeyInfo);
  file(directory, 'relay.test.crt', new X509Certificate(Buffer.from(AsnConvert.serialize(certificate))).toString());
  file(directory, 'relay.test.key', privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  return ['--cert-mode=manual', '--hostname=relay.test', '--cert-dir', directory];
}

/** What is wrong, by where it was said: `--listen`, `DERPKIT_HOME`, `relay.yaml: stun`. */
function problems(stderr: string): string[] {
  return lines(stderr).map((line) => /^derpkit: (.*?): (?:must|there|cannot|a |the )/.exec(line)?.[1] ?? line);
}

describe('derpkit serve', () => {
  it('a relay serves with a certificate of its own, and logs the pin', async () => {
    const directory = temporary();
    const relay = serve(directory, ['--hostname', 'relay.test']);
    const port = await portOf(relay, 'DERP over TLS');
    const { leaf } = await handshake(port);
    for (const name of ['relay.test', 'localhost']) expect(leaf.checkHost(name)).toBe(name);
    const stunPort = await portOf(relay, 'STUN');
    const [, json = ''] = await relay.printed(/a DERPNode for this certificate: (.+)$/m);
    expect(JSON.parse(json)).toEqual({
      Name: 'custom',
      RegionID: 900,
      HostName: 'relay.test',
      CertName: `sha256-raw:${fingerprintOf(leaf)}`,
      DERPPort: port,
      STUNPort: stunPort,
    });
    const client = await logIn(port, await keyOf(relay), {});
    expect(await client.fence()).toEqual([]);
    expect((await askStun(stunPort)).readUInt16BE()).toBe(0x0101);
    expect((await get(await portOf(relay, 'HTTP'), '/')).status).toBe(302);
    expect(readdirSync(join(directory, 'data')).sort()).toEqual(['certs', 'derper.key']);
    const { code, stdout, stderr } = await relay.stop('SIGINT');
    expect({ code, stdout }).toEqual({ code: 0, stdout: '' });
    const deviations = stderr.match(/the JavaScript plane emulates --tcp-keepalive-time and --tcp-user-timeout/g) ?? [];
    expect(deviations).toHaveLength(/plane=js/.test(stderr) ? 1 : 0);
  });

  it.each([
    ['from years to come, made while the clock was wrong', 400, /\/derpkit\.crt is not valid before /],
    ['that has expired', -60, /\/derpkit\.crt has expired, on /],
  ])('a relay replaces a certificate %s, and logs the new pin', async (_name, days, why) => {
    const directory = temporary();
    const certs = join(directory, 'data', 'certs');
    mkdirSync(certs, { recursive: true, mode: 0o700 });
    const made = new Date(Date.now() + days * 24 * 60 * 60 * 1000);
    const { der, privateKey } = selfSignedCertificate(['localhost', '127.0.0.1', '::1'], 30, made);
    writeFileSync(join(certs, 'derpkit.crt'), new X509Certificate(der).toString());
    writeFileSync(join(certs, 'derpkit.key'), privateKey.export({ type: 'pkcs8', format: 'pem' }));
    const relay = serve(directory);
    const { leaf } = await handshake(await portOf(relay, 'DERP over TLS'));
    expect(Date.parse(leaf.validFrom)).toBeLessThan(Date.now());
    expect(Date.parse(leaf.validTo)).toBeGreaterThan(Date.now());
    await relay.printed(why);
    await relay.printed(new RegExp(`clients pin as sha256-raw:${fingerprintOf(leaf)}`));
  });

  it('a relay takes the other plane if the native plane cannot use the certificate, and says so', async () => {
    const directory = temporary();
    const certs = manualPair(directory, 'ed448');
    const relay = serve(directory, certs);
    const { leaf } = await handshake(await portOf(relay, 'DERP over TLS'), {
      servername: 'relay.test',
      maxVersion: 'TLSv1.3',
    });
    expect(leaf.publicKey.asymmetricKeyType).toBe('ed448');
    await relay.printed(
      /warn: .*the native plane cannot be used.* plane=js reason=".*relay\.test\.crt: the plane cannot use it: .* \(it has a key of ed448\)/,
    );
  });

  it('a relay makes its data directory for its user alone, whatever the umask', async () => {
    const directory = temporary();
    const data = join(directory, 'above', 'data');
    const script = 'umask 0; exec "$0" "$@"';
    const args = ['--data-dir', data, '--listen=127.0.0.1:0', '--http-port=-1', '--no-stun'];
    const relay = new Command(['/bin/sh', '-c', script, process.execPath, binPath('derpkit'), 'serve', ...args]);
    await portOf(relay, 'DERP over TLS');
    for (const path of [dirname(data), data, join(data, 'certs')])
      expect(statSync(path).mode & 0o777, path).toBe(0o700);
    expect((await relay.stop()).stderr).not.toContain('has the mode');
  });

  it('a relay warns about a data directory that other users may write to', async () => {
    const directory = temporary();
    const data = join(directory, 'data');
    mkdirSync(data);
    chmodSync(data, 0o777);
    const relay = serve(directory);
    await portOf(relay, 'DERP over TLS');
    await relay.printed(
      /warn: \S+data has the mode 0777: other users may replace the keys in it; chmod 700 prevents that$/m,
    );
    // The mode stays, because the operator may have reasons.
    expect(statSync(data).mode & 0o777).toBe(0o777);
  });

  it('a relay serves nothing that is turned off', async () => {
    const relay = serve(temporary(), ['--no-stun', '--no-derp', '--cert-mode=off']);
    const port = await portOf(relay, 'DERP over plain HTTP');
    expect((await get(port, '/derp')).status).toBe(404);
    expect(relay.stderr).not.toMatch(/serving (?:STUN|HTTP)|DERPNode/);
  });
});

describe('settings of derpkit serve', () => {
  const YAML = `# A relay
listen: 127.0.0.1:0
certMode: off
stun: false
home: blank
`;

  it('settings come from a YAML file', async () => {
    const directory = temporary();
    const yaml = file(directory, 'relay.yaml', `${YAML}dataDir: ${join(directory, 'data')}\n`);
    const relay = start('derpkit', ['serve', '--config', yaml]);
    const port = await portOf(relay, 'DERP over plain HTTP');
    expect(await (await get(port, '/')).text()).toBe('');
    expect(relay.stderr).not.toMatch(/serving STUN/);
  });

  it('settings come from a JSON file with comments, which a variable may name', async () => {
    const directory = temporary();
    const settings = { listen: '127.0.0.1:0', certMode: 'off', stunPort: 0, dataDir: join(directory, 'data') };
    const json = file(
      directory,
      'relay.json',
      `// A relay\n${JSON.stringify(settings, null, 2).replace('}', ', /* no more */ }')}`,
    );
    const relay = start('derpkit', ['serve'], { env: { DERPKIT_CONFIG: json } });
    await portOf(relay, 'DERP over plain HTTP');
    await portOf(relay, 'STUN');
  });

  it('variables override the file, and flags override both', async () => {
    const directory = temporary();
    const yaml = file(directory, 'relay.yaml', YAML);
    const env = { DERPKIT_HOME: 'https://variable.test/', DERPKIT_STUN: 'true', DERPKIT_LOG_FORMAT: '' };
    const relay = serve(directory, ['--config', yaml, '--home', 'https://flag.test/'], { env });
    const port = await portOf(relay, 'DERP over plain HTTP');
    expect((await get(port, '/')).headers.get('location')).toBe('https://flag.test/');
    await portOf(relay, 'STUN');
  });

  it.each([
    ['the file', YAML, {}, []],
    ['a variable', '', { DERPKIT_STUN: 'false' }, []],
    ['a flag, against the others', 'stun: true\n', { DERPKIT_STUN: 'true' }, ['--no-stun']],
  ])('%s turns off a setting that is on by default', async (_name, text, env, flags) => {
    const directory = temporary();
    const relay = serve(directory, ['--cert-mode=off', '--config', file(directory, 'relay.yaml', text), ...flags], {
      env,
    });
    await portOf(relay, 'DERP over plain HTTP');
    const { stderr } = await relay.stop();
    expect(stderr).not.toMatch(/serving STUN/);
  });

  it('a flag turns on a setting that a variable turned off', async () => {
    const relay = serve(temporary(), ['--stun', '--cert-mode=off'], { env: { DERPKIT_STUN: 'false' } });
    await portOf(relay, 'STUN');
  });

  it('secrets come from variables or files, never from flags', async () => {
    const secret = `privkey:${'18'.repeat(31)}58`;
    const directory = temporary();
    const env = { DERPKIT_PRIVATE_KEY: secret, DERPKIT_MESH_KEY: 'ab'.repeat(32), DERPKIT_LOG_LEVEL: 'trace' };
    const relay = serve(directory, ['--cert-mode=off', '--no-stun'], { env });
    const client = await logIn(await portOf(relay, 'DERP over plain HTTP'), await keyOf(relay));
    await client.fence();
    const { stdout, stderr } = await relay.stop();
    for (const value of [secret.slice(8), env.DERPKIT_MESH_KEY]) expect(stdout + stderr).not.toContain(value);
    const refused = await run('derpkit', ['serve', '--private-key', secret]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/unknown option '--private-key'/);
  });

  it('certificates may stand in the file itself', async () => {
    const directory = temporary();
    const pair = pemPair(['own.test']);
    const yaml = file(directory, 'relay.yaml', `certificate: ${JSON.stringify(pair)}\n`);
    const { leaf } = await handshake(await portOf(serve(directory, ['--config', yaml]), 'DERP over TLS'));
    expect(leaf.toString()).toBe(pair.chain);
  });
});

describe('unusable settings of derpkit serve', () => {
  it('unusable settings are all reported, each as its source spells it', async () => {
    const directory = temporary();
    const text = `
hostname: "a b"
stun: maybe
queueDepth: 1.5
meshKeyFile:
certificate: pem
http-port: 80
nonsense: 1
tcpWriteTimeout: 5 minutes
`;
    const { code, stdout, stderr } = await run(
      'derpkit',
      [
        'serve',
        '--config',
        file(directory, 'relay.yaml', text),
        '--listen',
        '443',
        '--http-port',
        '-2',
        '--data-dir',
        '',
      ],
      { env: { DERPKIT_HOME: 'x', DERPKIT_PLANE: 'x', DERPKIT_LOG_LEVEL: 'x', DERPKIT_MESH_KEY: 'not-so-secret' } },
    );
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(problems(stderr).sort()).toEqual([
      '--data-dir',
      '--http-port',
      '--listen',
      'DERPKIT_HOME',
      'DERPKIT_LOG_LEVEL',
      'DERPKIT_MESH_KEY',
      'DERPKIT_PLANE',
      'relay.yaml: certificate',
      'relay.yaml: hostname',
      'relay.yaml: http-port',
      'relay.yaml: meshKeyFile',
      'relay.yaml: nonsense',
      'relay.yaml: queueDepth',
      'relay.yaml: stun',
      'relay.yaml: tcpWriteTimeout',
    ]);
    expect(stderr).toMatch(/relay\.yaml: nonsense: there is no such setting$/m);
    expect(stderr).toMatch(/relay\.yaml: http-port: there is no such setting; it is called httpPort$/m);
    expect(stderr).not.toContain('secret');
  });

  it('unusable settings are reported together with contradictions', async () => {
    const env = { DERPKIT_PRIVATE_KEY: `privkey:${'18'.repeat(32)}`, DERPKIT_KEY_FILE: 'key' };
    const args = ['--cert-mode=letsencrypt', '--http-port=8443', '--listen=:8443', '--home=x'];
    const { code, stderr } = await run('derpkit', ['serve', ...args], { env });
    expect(code).toBe(1);
    expect(lines(stderr).sort()).toEqual([
      'derpkit: --home: must be empty, "blank", or an http:// or https:// URL',
      'derpkit: --hostname: must be a public name: no certificate authority issues a certificate for localhost',
      'derpkit: --http-port: 8443 is the port of the relay itself; choose another, or -1 for none',
      'derpkit: DERPKIT_PRIVATE_KEY: cannot be combined with a key file',
    ]);
  });

  it.each([
    ['relay.yaml', 'home: blank\nlisten: [1\n', 'relay.yaml:2: '],
    ['relay.yaml', 'home: blank\nlisten: *:443\n', 'relay.yaml:2: '],
    ['relay.yaml', 'stun: true\nhome: blank\nstun: false\n', 'relay.yaml:3: '],
    ['relay.json', '{\n  "stun": true\n  "home": "blank"\n}\n', 'relay.json:3: '],
    ['relay.yaml', '- listen\n', 'relay.yaml: must be one object of settings and their values, in YAML'],
  ])('a file %s that reads %j is reported with its line', async (name, text, place) => {
    const { code, stderr } = await run('derpkit', ['serve', '--config', file(temporary(), name, text)]);
    expect(code).toBe(1);
    expect(stderr.startsWith(`derpkit: ${place}`)).toBe(true);
    for (const line of lines(stderr)) expect(line.startsWith(`derpkit: ${name}:`)).toBe(true);
  });

  it.each([
    ['--config', ['--config', '/nonexistent/relay.yaml'], {}],
    ['DERPKIT_CONFIG', [], { DERPKIT_CONFIG: '/nonexistent/relay.yaml' }],
  ])('a missing file is reported as the fault of %s', async (source, args, env) => {
    const { code, stderr } = await run('derpkit', ['serve', ...args], { env });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derpkit: ${source}: no such file or directory: /nonexistent/relay.yaml`]);
  });

  it.each(['listen = ":443"\n', 'listen = ":443"\n[admission]\npolicy = "any"\n', 'a = [1\nb = {}}\n'])(
    'a file of TOML that reads %j is refused with the formats that are read',
    async (text) => {
      const { code, stderr } = await run('derpkit', ['serve', '--config', file(temporary(), 'relay.toml', text)]);
      expect(code).toBe(1);
      expect(lines(stderr)).toEqual([
        'derpkit: relay.toml: must be in YAML, or in JSON if its name ends with .json or .jsonc; TOML is not read',
      ]);
    },
  );

  it('a directory in place of the settings file is reported as the fault of --config', async () => {
    const directory = temporary();
    const { code, stderr } = await run('derpkit', ['serve', '--config', directory]);
    expect(code).toBe(1);
    const message = 'must be a file of settings, and this is a directory';
    expect(lines(stderr)).toEqual([`derpkit: --config: ${message}: ${directory}`]);
  });

  it('a missing certificate is reported as the fault of the directory of certificates, whether that was named or not', async () => {
    const directory = temporary();
    const certs = join(directory, 'data', 'certs');
    for (const args of [[], ['--cert-dir', certs]]) {
      const { code, stderr } = await serve(directory, ['--cert-mode=manual', '--hostname=relay.test', ...args]).end();
      expect(code).toBe(1);
      const message = `there is no relay.test.crt and no relay.test.key in ${certs}`;
      expect(lines(stderr)).toEqual([`derpkit: --cert-dir: ${message}`]);
    }
  });

  it.each([
    [['--bogus'], /^error: unknown option '--bogus'$/m],
    [['--stun=false'], /^error: option '--stun' takes no value; --no-stun turns it off$/m],
    [['--no-stun=true'], /^error: option '--no-stun' takes no value; --stun turns it on$/m],
    [['--listen'], /^error: option '--listen <value>' argument missing$/m],
    [['relay.yaml'], /^A settings file is named with --config: derpkit serve --config relay\.yaml$/m],
  ])('%j exits with 2, and says where to find help', async (args, message) => {
    const { code, stdout, stderr } = await run('derpkit', ['serve', ...args]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(message);
    expect(stderr).toMatch(/^derpkit serve --help lists the options\.$/m);
    expect(lines(stderr).length).toBeLessThanOrEqual(3);
  });

  it.each<[Bin, ...string[]]>([
    ['derpkit', 'serve', '--mesh-key=SECRET'],
    ['derpkit', 'serve', "--mesh-key=SECRET'\n'SECRET"],
    ['derpkit', 'serve', '--mesh-key', 'SECRET'],
    ['derpkit', 'serve', '-kSECRET'],
    ['derpkit', 'start', '--private-key=privkey:SECRET'],
    ['derpkit', '--mesh-key=SECRET', 'serve'],
    ['derpkit', '--mesh-key', 'SECRET', 'serve'],
    ['derper', '-mesh-psk=SECRET'],
    ['derper', '-mesh-psk', 'SECRET'],
  ])('the value of an unknown option is never shown: %j', async (bin, ...args) => {
    const { code, stdout, stderr } = await run(bin, args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/(?:unknown option '|not defined: )-/);
    expect(stdout + stderr).not.toContain('SECRET');
  });

  it('an unknown plane is refused', async () => {
    const { code, stderr } = await new Command([
      process.execPath,
      withoutNative('derpkit'),
      'serve',
      '--plane=native',
    ]).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([expect.stringMatching(/^derpkit: --plane: .*native plane/)]);
  });

  it('a certificate that the plane cannot use is reported with setting, file, reason and advice', async () => {
    const directory = temporary();
    const { code, stderr } = await serve(directory, [...manualPair(directory, 'ed448'), '--plane=native']).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([
      expect.stringMatching(
        /^derpkit: --cert-dir: \S+\/relay\.test\.crt: the plane cannot use it: there is no private key, or it is of a kind that cannot be used \(it has a key of ed448\); plane js may be able to$/,
      ),
    ]);
  });

  it('an address that is not this machine’s is refused', async () => {
    const { code, stderr } = await serve(temporary(), ['--listen', 'nosuch.invalid:0']).end();
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^derpkit: cannot listen on nosuch\.invalid:0 \(tls\): .*; choose an address of this machine, or leave the address out for all, with --listen\n$/,
    );
  });

  it('a port in use is refused', async () => {
    const port = await takenPort();
    const { code, stderr } = await serve(temporary(), ['--http-port', String(port), '--listen', ':0']).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([
      `derpkit: cannot listen on :${port} (tcp): the port is already in use; choose another port, or -1 for none, with --http-port`,
    ]);
  });
});

describe('unusable files of derpkit serve', () => {
  it.each([
    ['derper.key', 'derper.key: not a key file: it is not JSON'],
    ['certs/derpkit.crt', 'certs/derpkit.crt: there is no certificate in the chain, or none in PEM'],
    ['certs/derpkit.key', 'certs/derpkit.key: there is no private key in PEM, or it is broken'],
  ])('an unusable file is reported, and stays unchanged: %s', async (name, message) => {
    const directory = temporary();
    const data = join(directory, 'data');
    const pair = pemPair(['localhost', '127.0.0.1', '::1']);
    mkdirSync(join(data, 'certs'), { recursive: true });
    writeFileSync(join(data, 'certs/derpkit.crt'), pair.chain);
    writeFileSync(join(data, 'certs/derpkit.key'), pair.key);
    writeFileSync(join(data, name), 'not-so-secret');
    const { code, stderr } = await serve(directory).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derpkit: --data-dir: ${data}/${message}`]);
    // It is not ours to throw away.
    expect(readFileSync(join(data, name), 'utf8')).toBe('not-so-secret');
  });

  it('a data directory that is a file is refused', async () => {
    const path = file(temporary(), 'data', '');
    const { code, stderr } = await run('derpkit', ['serve', '--data-dir', path, '--no-stun', '--cert-mode=off']);
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derpkit: --data-dir: ${path}/derper.key: not a directory`]);
  });

  it('a malformed certificate in the file is refused', async () => {
    const directory = temporary();
    const yaml = file(directory, 'relay.yaml', 'certificate: { chain: not-so-secret, key: not-so-secret }\n');
    const { code, stderr } = await serve(directory, ['--config', yaml]).end();
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([
      'derpkit: relay.yaml: certificate.chain: there is no certificate in the chain, or none in PEM',
    ]);
  });
});
