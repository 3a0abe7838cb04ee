import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { commandHook } from '../../../src/control/acme/dns-hook.js';

/** A command, and the file that it writes. */
function command(script: string): { path: string; out: string } {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-dns-'));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  const [path, out] = [join(directory, 'hook'), join(directory, 'out')];
  writeFileSync(path, `#!/bin/sh\n${script.replaceAll('OUT', out)}\n`);
  chmodSync(path, 0o755);
  return { path, out };
}

describe('a command for DNS-01', () => {
  it('the DNS-01 command gets the action, the name and the value, without a shell', async () => {
    const { path, out } = command('printf "%s|" "$@" >> OUT');
    const hook = commandHook(path);
    await hook('present', '_acme-challenge.a.test', '$(touch x) "\'');
    await hook('cleanup', '_acme-challenge.a.test', 'v');
    expect(readFileSync(out, 'utf8')).toBe(
      'present|_acme-challenge.a.test|$(touch x) "\'|cleanup|_acme-challenge.a.test|v|',
    );
  });

  it('a DNS-01 command that fails is quoted with its last line and its status', async () => {
    const { path } = command('echo first >&2; echo no such zone >&2; exit 3');
    await expect(commandHook(path)('present', 'n', 'v')).rejects.toThrow(
      `${path} present n: exit status 3: no such zone`,
    );
    await expect(commandHook('/nowhere/hook')('present', 'n', 'v')).rejects.toThrow(
      /\/nowhere\/hook present n: .*ENOENT/,
    );
  });

  it('a DNS-01 command that hangs is ended', async () => {
    const { path } = command('exec sleep 600');
    await expect(commandHook(path, 100)('present', 'n', 'v')).rejects.toThrow('it did not end within 0.1 s');
  });

  it('a DNS-01 command with very much output fails, and is ended', async () => {
    const { path } = command('yes');
    await expect(commandHook(path)('present', 'n', 'v')).rejects.toThrow(/maxBuffer/);
  });
});
