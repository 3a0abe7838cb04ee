/** `derpkit` itself: its commands, what version it is, and help where none was right. */
import { symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import manifest from '../../package.json' with { type: 'json' };
import { type Bin, binPath, Command, lines, run, temporary, withoutNative } from './commands.js';

describe('derpkit version', () => {
  it('derpkit version prints version, protocol, and the plane with its reason', async () => {
    const { code, stdout, stderr } = await run('derpkit', ['version']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(lines(stdout)).toEqual([
      `derpkit ${manifest.version}`,
      'protocol: 2',
      expect.stringMatching(/^plane: (?:js|native) \(\S.*\)$/),
    ]);
  });

  it('derpkit version reads DERPKIT_PLANE', async () => {
    const { code, stdout } = await run('derpkit', ['version'], { env: { DERPKIT_PLANE: 'js' } });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^plane: js \(it was selected\)$/m);
  });

  it.each([
    ['native', /^derpkit: DERPKIT_PLANE: .*native plane/],
    ['bogus', /^derpkit: DERPKIT_PLANE: must be auto, native or js$/],
  ])('derpkit version says why there is no plane %s', async (plane, message) => {
    const command = new Command([process.execPath, withoutNative('derpkit'), 'version'], {
      env: { DERPKIT_PLANE: plane },
    });
    const { code, stdout, stderr } = await command.end();
    expect(code).toBe(1);
    expect(stdout).not.toContain('plane');
    expect(lines(stderr)).toEqual([expect.stringMatching(message)]);
  });

  it('derpkit --version and derper -version print the version', async () => {
    const [derpkit, derper] = await Promise.all([run('derpkit', ['--version']), run('derper', ['-version'])]);
    const expected = { code: 0, signal: null, stdout: `${manifest.version}\n`, stderr: '' };
    expect(derpkit).toEqual(expected);
    expect(derper).toEqual(expected);
  });
});

describe('derpkit help', () => {
  const COMMANDS = ['serve', 'start', 'version', 'health', 'tap', 'top', 'fleet', 'bench', 'help'];
  const commands = (text: string) => [...text.matchAll(/^ {2}([a-z]+)(?: \[\w+\])* {2,}\S/gm)].map(([, name]) => name);

  it.each([['--help'], ['help']])('%s lists the commands, and is no error', async (word) => {
    const { code, stdout, stderr } = await run('derpkit', [word]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(commands(stdout)).toEqual(COMMANDS);
    for (const line of lines(stdout)) expect(line.length).toBeLessThanOrEqual(120);
  });

  it.each([
    ['derpkit', 'bench --list'],
    ['derpkit', 'version'],
    ['derper', '-version'],
  ] as const)('%s %s whose reader has left ends without a word', async (bin, args) => {
    // The pipe is closed before the command writes to it.
    const script = `exec 3>&1; "$0" ${binPath(bin)} ${args} 2>&3 | true`;
    const { stdout, stderr } = await new Command(['bash', '-c', script, process.execPath]).end();
    expect({ stdout, stderr }).toEqual({ stdout: '', stderr: '' });
  });

  it('an output that cannot be written is a failure with a reason', async () => {
    const script = `exec "$0" ${binPath('derpkit')} version > /dev/full`;
    const { code, stderr } = await new Command(['bash', '-c', script, process.execPath]).end();
    expect({ code, lines: lines(stderr) }).toEqual({
      code: 1,
      lines: [expect.stringMatching(/^derpkit: the output cannot be written: ENOSPC/)],
    });
  });

  it('derpkit without a command prints the help', async () => {
    const { code, stdout, stderr } = await run('derpkit', []);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(commands(stdout)).toEqual(COMMANDS);
  });

  it.each([
    [['bogus'], "error: unknown command 'bogus'"],
    [['--bogus'], "error: unknown option '--bogus'"],
  ])('%j prints what is wrong, and then the help', async (args, message) => {
    const { code, stdout, stderr } = await run('derpkit', args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(lines(stderr)[0]).toBe(message);
    expect(commands(stderr)).toEqual(COMMANDS);
  });

  it('the help for a mistyped command suggests the right one', async () => {
    const { code, stderr } = await run('derpkit', ['sevre']);
    expect(code).toBe(2);
    expect(stderr).toMatch(/Did you mean serve\?/);
  });
});

it.each<Bin>(['derpkit', 'derper'])('%s runs through a symbolic link, as package managers make one', async (bin) => {
  const link = join(temporary(), bin);
  symlinkSync(binPath(bin), link);
  // By its first line, from anywhere.
  const { code, stdout } = await new Command([link, '--version'], { cwd: '/' }).end();
  expect({ code, stdout }).toEqual({ code: 0, stdout: `${manifest.version}\n` });
});
