/** Where the system tells a program next to nothing: services without a home, containers without /proc, directories that are gone. */
import { spawnSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { type Bin, binPath, Command, isRoot, ROOT, temporary } from './commands.js';
import { get, keyOf, logIn, portOf } from './reach.js';

/** A user that the system does not know, in an environment without variables. */
const STRANGER = ['env', '-i', 'setpriv', '--reuid', '12345', '--clear-groups'] as const;
const inShell = (before: string) => ['env', '-i', 'sh', '-c', `${before} && exec "$@"`, 'sh'];
const inNamespace = (before: string) => ['env', '-i', 'unshare', '--mount', 'sh', '-c', `${before} && exec "$@"`, 'sh'];

const ENVIRONMENTS: readonly [name: string, prefix: () => readonly string[]][] = [
  ['no HOME, and no entry in passwd', () => STRANGER],
  ['no /etc/passwd', () => inNamespace('mount --bind /dev/null /etc/passwd')],
  ['no /proc', () => inNamespace('mount -t tmpfs none /proc')],
  ['a working directory that is gone', () => inShell(`cd ${temporary()} && rmdir "$PWD"`)],
  ['a working directory that cannot be read', () => [...inShell(`cd ${temporary()}`), ...STRANGER]],
  ['no directory for temporary files', () => ['env', '-i', 'TMPDIR=/nonexistent']],
];

/** What makes such environments works only for root, and not in every container. */
const CAN_BE_MADE =
  isRoot() &&
  spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'none', '/proc']).status === 0 &&
  spawnSync(STRANGER[0], [...STRANGER.slice(1), process.execPath, '--version']).status === 0;

/** A directory that any user may write to. */
function shared(): string {
  const directory = temporary();
  chmodSync(directory, 0o777);
  return directory;
}

describe.runIf(CAN_BE_MADE).each(ENVIRONMENTS)('an environment with %s', (_, prefix) => {
  function start(program: string, args: readonly string[], variables: readonly string[] = []): Command {
    const line = [...prefix(), 'env', ...variables, process.execPath, program, ...args];
    return new Command(line as [string, ...string[]]);
  }
  const run = (bin: Bin, ...args: string[]) => start(binPath(bin), args).end();

  it('commands print their result', async () => {
    expect(await run('derper', '-version')).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d/),
      stderr: '',
    });
    expect(await run('derper', '--help')).toMatchObject({ code: 0, stderr: expect.stringMatching(/^Usage of derper/) });
    for (const args of [['--version'], ['--help'], ['serve', '--help'], ['start', '--help'], ['version']]) {
      expect(await run('derpkit', ...args), args.join(' ')).toMatchObject({ code: 0, stderr: '' });
    }
  });

  it('the library can be imported', async () => {
    const program = join(shared(), 'program.mjs');
    const index = pathToFileURL(join(ROOT, 'dist/index.js')).href;
    writeFileSync(program, `import { VERSION } from ${JSON.stringify(index)};\nconsole.log(VERSION);\n`);
    chmodSync(program, 0o644);
    expect(await start(program, []).end()).toMatchObject({ code: 0, stderr: '' });
  });

  it.each(PLANE_KINDS)('a relay runs, shows its metrics, and ends, on the plane %s', async (plane) => {
    const args = ['-a', '127.0.0.1:0', '-stun-port', '0', '-c', join(shared(), 'derper.key')];
    const relay = start(binPath('derper'), args, [`DERPKIT_PLANE=${plane}`]);
    const port = await portOf(relay, 'DERP over plain HTTP');
    const client = await logIn(port, await keyOf(relay));
    expect(await client.fence()).toEqual([]);
    expect(await (await get(port, '/debug/varz')).text()).toMatch(/^derp_current_connections 1$/m);
    expect((await get(port, '/debug/')).status).toBe(200);
    const health = await run('derpkit', 'health', '--url', `http://127.0.0.1:${port}`);
    expect(health).toMatchObject({ code: 0, stdout: expect.stringContaining('answers DERP') });
    // The namespace's own shell and env have become the relay.
    expect((await relay.stop()).code).toBe(0);
    expect(relay.stderr).not.toMatch(/ error: |has failed/);
  });

  it.each(PLANE_KINDS)('derpkit serve runs with explicit directories, on the plane %s', async (plane) => {
    const args = ['serve', '--listen', '127.0.0.1:0', '--http-port', '-1', '--stun-port', '0', '--data-dir', shared()];
    const relay = start(binPath('derpkit'), args, [`DERPKIT_PLANE=${plane}`]);
    await portOf(relay, 'DERP over TLS');
    expect((await relay.stop()).code).toBe(0);
  });
});

describe.runIf(CAN_BE_MADE)('a user without a home', () => {
  const start = (args: readonly string[]) =>
    new Command([...STRANGER, process.execPath, binPath('derpkit'), ...args] as [string, ...string[]]);

  it.each(['serve', 'start'])('%s asks for the directory that it cannot find', async (command) => {
    expect(await start([command]).end()).toMatchObject({
      code: 1,
      stdout: '',
      stderr:
        'derpkit: --data-dir: must name a directory: HOME is not set, and the system knows no home directory of this user\n',
    });
  });

  it('no home is needed if the settings name every file', async () => {
    const args = ['serve', '--listen', '127.0.0.1:0', '--cert-mode', 'off', '--no-stun'];
    const relay = start([...args, '--key-file', join(shared(), 'derper.key')]);
    await portOf(relay, 'DERP over plain HTTP');
    expect((await relay.stop()).code).toBe(0);
  });
});
