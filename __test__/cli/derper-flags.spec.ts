/** `derper`'s command line: Go's syntax, 35 flags, and what it says of those that cannot be used. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { lines, run, start, temporary } from './commands.js';

/** Every flag: a value that changes nothing, and one that does; whether what it does is there. */
const FLAGS: readonly (readonly [name: string, same: string, other: string, there: boolean])[] = [
  ['a', ':443', ':1', true],
  ['accept-connection-burst', '9223372036854775807', '100', true],
  ['accept-connection-limit', '+Inf', '10', true],
  ['ace', 'false', 'true', false],
  ['acme-eab-key', '', 'secret', true],
  ['acme-eab-kid', '', 'kid', true],
  ['acme-email', '', 'a@example.com', true],
  ['acme-ip-certs', 'f', 't', true],
  ['bootstrap-dns-names', '', 'example.com', true],
  ['c', '', 'derper.key', true],
  ['certdir', '', 'certs', true],
  ['certmode', 'letsencrypt', 'manual', true],
  ['derp', 'true', 'false', true],
  ['dev', 'false', 'true', true],
  ['disallow-app-names', '', 'app', true],
  ['home', '', 'blank', true],
  ['hostname', 'derp.tailscale.com', 'derp.test', true],
  ['http-port', '80', '-1', true],
  ['mesh-psk-file', '', 'mesh.key', true],
  ['mesh-with', '', 'other.example.com', true],
  ['rate-config', '', 'rates.json', true],
  ['secrets-cache-dir', '/nonexistent/.cache/derper-secrets', '/tmp', false],
  ['secrets-path-prefix', 'prod/derp', 'dev/derp', false],
  ['secrets-url', '', 'https://setec.example.com', false],
  ['socket', '', '/tmp/tailscaled.sock', true],
  ['stun', 'true', 'false', true],
  ['stun-port', '3478', '0', true],
  ['tcp-keepalive-time', '10m', '1m', true],
  ['tcp-user-timeout', '15s', '1s', true],
  ['tcp-write-timeout', '2000ms', '1s', true],
  ['unpublished-bootstrap-dns-names', '', 'example.com', true],
  ['verify-client-url', '', 'https://example.com', true],
  ['verify-client-url-fail-open', 'T', 'false', true],
  ['verify-clients', '0', '1', true],
  ['version', 'false', 'true', true],
];
const REFUSED = FLAGS.filter(([, , , there]) => !there);

/** A relay with a key of its own and plain HTTP on a port of its choice. */
function plain(...flags: string[]): string[] {
  return ['-c', join(temporary(), 'derper.key'), '-a', '127.0.0.1:0', '-stun=false', ...flags];
}

describe('the syntax of derper’s flags', () => {
  it.each([['-h'], ['-help'], ['--help']])('%s lists every flag, and is no error', async (flag) => {
    const { code, stdout, stderr } = await run('derper', [flag]);
    expect(code).toBe(0);
    expect(stdout).toBe('');
    expect(lines(stderr)[0]).toBe('Usage of derper:');
    const names = [...stderr.matchAll(/^ {2}-([a-z-]+)/gm)].map(([, name]) => name);
    expect(names).toEqual(FLAGS.map(([name]) => name));
    expect(names).toHaveLength(35);
    // Each has a line of what it is, in the language of people.
    expect(stderr.match(/^ {4}\t\S.+$/gm)).toHaveLength(35);
  });

  it.each([
    [['-bogus'], 'flag provided but not defined: -bogus'],
    [['--bogus=1'], 'flag provided but not defined: -bogus'],
    [['-a'], 'flag needs an argument: -a'],
    [['-stun=maybe'], 'invalid boolean value "maybe" for -stun: parse error'],
    [['-stun-port', 'many'], 'invalid value "many" for flag -stun-port: parse error'],
    [['-tcp-write-timeout=5'], 'invalid value "5" for flag -tcp-write-timeout: parse error'],
    [['---a=x'], 'bad flag syntax: ---a=…'],
  ])('%j exits 2, with what is wrong first and the usage below', async (args, message) => {
    const { code, stdout, stderr } = await run('derper', args);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(lines(stderr).slice(0, 2)).toEqual([message, 'Usage of derper:']);
  });

  it('-version prints one line, whatever else is given', async () => {
    const { code, stdout, stderr } = await run('derper', ['--version', '-a', 'nonsense', '-mesh-with=x']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^\d+\.\d+\.\d+\S*\n$/);
  });

  it('a flag takes one dash or two, and its value behind = or as the next argument', async () => {
    const key = join(temporary(), 'derper.key');
    const relay = start('derper', ['--c', key, '-a=127.0.0.1:0', '--stun=f', '--tcp-write-timeout', '0', '-derp']);
    await relay.printed(/serving DERP over plain HTTP addr=127\.0\.0\.1:/);
    expect((await relay.stop()).code).toBe(0);
  });

  it('the first argument that is no flag ends the flags, with a warning, such as for -stun false', async () => {
    const relay = start('derper', [...plain(), '-derp', 'false', '-bogus']);
    await relay.printed(
      /warn: ignored, because it is not a flag: false, and 1 behind it \(booleans are written -name=false\)$/m,
    );
    await relay.stop();
  });

  it('a word that may be a secret is not told', async () => {
    const relay = start('derper', [...plain(), 'hunter2', '-mesh-psk-file', 'psk']);
    const [said] = await relay.printed(/warn: ignored, because it is not a flag: .*$/m);
    expect(said).toMatch(/: a word behind the flags, and 2 behind it/);
    await relay.stop();
  });
});

describe('flags that derpkit does not have', () => {
  it.each(REFUSED)('-%s refuses to start', async (name, _same, other) => {
    const { code, stdout, stderr } = await run('derper', [...plain(), `-${name}=${other}`]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    // One line: that it will not be, why, and what to do.
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr).toMatch(
      name === 'ace'
        ? /^derper: -ace: derpkit does not have it: .*tailscale\.com.*; remove the flag$/m
        : new RegExp(`^derper: -${name}: derpkit does not have it: .*setec.*; .*-mesh-psk-file$`, 'm'),
    );
  });

  it('flags that derpkit does not have are accepted with their defaults', async () => {
    const relay = start('derper', [...plain(), ...REFUSED.map(([name, same]) => `-${name}=${same}`)]);
    await relay.printed(/serving DERP over plain HTTP/);
    expect((await relay.stop()).code).toBe(0);
  });
});

it('implemented flags are accepted with their defaults', async () => {
  const own = ['a', 'c', 'stun', 'stun-port'];
  const others = FLAGS.filter(([name, , , there]) => there && !own.includes(name));
  const relay = start('derper', [...plain(), ...others.map(([name, same]) => `-${name}=${same}`)]);
  await relay.printed(/serving DERP over plain HTTP/);
  expect((await relay.stop()).code).toBe(0);
});

describe('unusable values of derper’s flags', () => {
  it.each([
    ['-a', 'nonsense', /must be host:port/],
    ['-a', '1.2.3.4:66000', /must be host:port, with a port from 0 to 65535$/m],
    ['-a', ':-1', /must be host:port, with a port from 0 to 65535$/m],
    ['-home', 'elsewhere', /must be empty, "blank", or an http:\/\/ or https:\/\/ URL/],
    ['-http-port', '70000', /must be a port from 0 to 65535, or -1 for none/],
    ['-stun-port', '-1', /must be a port from 0 to 65535/],
    ['-certmode', 'acme', /unknown mode "acme"; must be manual, letsencrypt or gcp/],
    ['-tcp-keepalive-time', '-1s', /must be a duration/],
    ['-tcp-user-timeout', '-1s', /must be a duration/],
    ['-tcp-write-timeout', '-1s', /must be a duration/],
    ['-hostname', 'a b', /must be a host name or an IP address/],
  ])('%s %s exits with 1, and one line names the flag', async (flag, value, message) => {
    const { code, stdout, stderr } = await run('derper', [...plain(), flag, value]);
    expect(code).toBe(1);
    expect(stdout).toBe('');
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr.startsWith(`derper: ${flag}: `)).toBe(true);
    expect(stderr).toMatch(message);
  });

  it.each([
    ['letsencrypt', 1],
    ['gcp', 1],
    [undefined, 0],
  ])(
    '-certmode %s on another port than 443 starts plain HTTP, as derper does, with %i warning',
    async (mode, count) => {
      const relay = start('derper', plain(...(mode === undefined ? [] : [`-certmode=${mode}`])));
      await relay.printed(/serving DERP over plain HTTP/);
      const { stderr } = await relay.stop();
      expect(stderr.match(new RegExp(`warn: -certmode=${mode} has no effect: .*port 443`, 'g')) ?? []).toHaveLength(
        count,
      );
    },
  );

  it('unusable values are all reported, each on its line', async () => {
    const { code, stderr } = await run(
      'derper',
      plain('-ace', '-mesh-with=x', '-certmode=x', '-home=x', '-http-port=-2', '-tcp-write-timeout=-1s'),
      { env: { TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH: 'x', DERPKIT_PLANE: 'x', DERPKIT_LOG_FORMAT: 'x' } },
    );
    expect(code).toBe(1);
    expect(
      lines(stderr)
        .map((line) => line.split(': ')[1])
        .sort(),
    ).toEqual([
      '-ace',
      '-certmode',
      '-home',
      '-http-port',
      '-mesh-with',
      '-tcp-write-timeout',
      'DERPKIT_LOG_FORMAT',
      'DERPKIT_PLANE',
      'TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH',
    ]);
  });

  it.each([
    [
      ['-certmode=gcp', '-hostname=a.example.com'],
      ['-acme-eab-kid', '-acme-eab-key', '-acme-email'],
    ],
    [
      ['-certmode=gcp', '-hostname=192.0.2.1', '-acme-email=a@b.c', '-acme-eab-kid=k', '-acme-eab-key=aaaa'],
      ['-hostname'],
    ],
    [['-hostname=192.0.2.1'], ['-hostname']],
    [['-certmode=manual', '-hostname=a.example.com', '-acme-ip-certs'], ['-acme-ip-certs']],
    [['-hostname=a.example.com', '-acme-eab-kid=k', '-acme-eab-key=a b'], ['-acme-eab-key']],
  ])('%j: missing certificates are reported by their flags', async (flags, named) => {
    const { code, stderr } = await run('derper', ['-c', join(temporary(), 'k'), '-a', ':443', ...flags]);
    expect(code).toBe(1);
    expect(lines(stderr).map((line) => line.split(': ')[1])).toEqual(named);
    expect(stderr).not.toContain('a b');
  });

  it('without -c, only root has a default key file', async ({ skip }) => {
    const { code, stderr } = await run('derper', ['-a', '127.0.0.1:0'], { unprivileged: true });
    if (/Cannot find (?:module|package)|EACCES/.test(stderr)) skip('only root can read the build');
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual(['derper: -c: must name a key file; the relay makes it if it is missing']);
  });

  it('the mesh key of -dev is checked, and never shown', async () => {
    const { code, stderr } = await run('derper', ['-dev', '-stun=false'], {
      env: { TAILSCALE_DERPER_MESH_KEY: 'not-so-secret' },
    });
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual(['derper: TAILSCALE_DERPER_MESH_KEY: must be 64 hex digits']);
  });
});

describe('unusable files of derper’s flags', () => {
  it('a missing -mesh-psk-file is refused', async () => {
    const path = join(temporary(), 'mesh.key');
    const { code, stderr } = await run('derper', plain('-mesh-psk-file', path));
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derper: -mesh-psk-file: ${path}: there is no such file`]);
  });

  it('a malformed -mesh-psk-file is refused, and never shown', async () => {
    const path = join(temporary(), 'mesh.key');
    writeFileSync(path, 'not-so-secret\n');
    const { code, stdout, stderr } = await run('derper', plain('-mesh-psk-file', path));
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derper: -mesh-psk-file: ${path}: invalid mesh key: 64 hex digits are needed`]);
    expect(stdout + stderr).not.toContain('secret');
  });

  it.each([
    ['garbage', 'not-so-secret', 'not a key file: it is not JSON'],
    ['another JSON', '{"Key":"not-so-secret"}', 'not a key file: it has no "PrivateKey" of the form'],
    ['a bad key', '{"PrivateKey":"privkey:not-so-secret"}', 'not a key file: it has no "PrivateKey" of the form'],
  ])('-c with %s is refused, and never shown', async (_name, text, message) => {
    const path = join(temporary(), 'derper.key');
    writeFileSync(path, text);
    const { code, stderr } = await run('derper', ['-c', path, '-a', '127.0.0.1:0', '-stun=false']);
    expect(code).toBe(1);
    expect(lines(stderr)).toHaveLength(1);
    expect(stderr.startsWith(`derper: -c: ${path}: ${message}`)).toBe(true);
    expect(stderr).not.toContain('secret');
  });

  it('-c is refused if it cannot be read or made', async ({ skip }) => {
    const directory = temporary();
    const path = join(directory, 'derper.key');
    writeFileSync(path, '{}', { mode: 0o000 });
    const denied = ['-a', '127.0.0.1:0', '-stun=false', '-c'];
    const [there, absent] = await Promise.all([
      run('derper', [...denied, path], { unprivileged: true }),
      run('derper', [...denied, '/proc/nowhere/derper.key'], { unprivileged: true }),
    ]);
    if (/Cannot find (?:module|package)/.test(there.stderr)) skip('only root can read the build');
    expect(lines(there.stderr)).toEqual([`derper: -c: ${path}: permission denied`]);
    expect(there.code).toBe(1);
    expect(lines(absent.stderr)).toHaveLength(1);
    expect(absent.stderr).toMatch(
      /^derper: -c: \/proc\/nowhere\/derper\.key: there is no such file, and it cannot be made: /,
    );
    expect(absent.code).toBe(1);
  });

  it('-c is refused if it is a directory', async () => {
    const path = temporary();
    const { code, stderr } = await run('derper', ['-c', path, '-a', '127.0.0.1:0', '-stun=false']);
    expect(code).toBe(1);
    expect(lines(stderr)).toEqual([`derper: -c: ${path}: illegal operation on a directory`]);
  });
});
