import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { commandHook } from '../../../../src/control/acme/dns-hook.js';
import { temporaryDirectory } from '../../temp.js';

const directory = temporaryDirectory();
let count = 0;

function command(script: string): string {
  count += 1;
  const path = join(directory, `hook-${count}`);
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

describe('the command for DNS records', () => {
  it('the command gets action, name and value, each as one argument', async () => {
    const said = join(directory, 'said');
    await commandHook(command(`printf '%s|' "$@" > ${said}`))('present', '_acme-challenge.a.test', 'a value; $(id)');
    expect(readFileSync(said, 'utf8')).toBe('present|_acme-challenge.a.test|a value; $(id)|');
  });

  it('a failing command is reported with its last line and its status', async () => {
    const path = command('echo first >&2; echo "no such zone" >&2; exit 3');
    await expect(commandHook(path)('cleanup', 'a', 'b')).rejects.toThrow(
      `${path} cleanup a: exit status 3: no such zone`,
    );
  });

  it('a failing command without output is reported with its status', async () => {
    const path = command('exit 4');
    await expect(commandHook(path)('present', 'a', 'b')).rejects.toThrow(new Error(`${path} present a: exit status 4`));
  });

  it('a long output of the command is quoted in part', async () => {
    const path = command(`printf '%01000d' 7 >&2; exit 1`);
    await expect(commandHook(path)('present', 'a', 'b')).rejects.toThrow(
      new Error(`${path} present a: exit status 1: ${'0'.repeat(300)}`),
    );
  });

  it('a missing command is reported', async () => {
    await expect(commandHook(join(directory, 'none'))('present', 'a', 'b')).rejects.toThrow(/none present a: .*ENOENT/);
    const path = join(directory, 'none');
    await expect(commandHook(path)('present', 'a', 'b')).rejects.toThrow(
      new Error(`${path} present a: spawn ${path} ENOENT`),
    );
  });

  it('a command with very much output fails, and is ended', async () => {
    await expect(commandHook(command('yes'))('present', 'a', 'b')).rejects.toThrow(/maxBuffer/);
  });

  it('a command that hangs is ended', async () => {
    const path = command('trap "" TERM; exec sleep 600');
    await expect(commandHook(path, 500)('present', 'a', 'b')).rejects.toThrow('it did not end within 0.5 s');
  });
});
