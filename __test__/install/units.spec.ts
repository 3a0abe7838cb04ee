/** The units for systemd, as its own tools judge them. */
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { binPath, ROOT, temporary } from '../cli/commands.js';

const UNITS = join(ROOT, 'packaging/systemd');
const names = readdirSync(UNITS).filter((name) => /\.(?:service|socket)$/.test(name));

/** The units, with a command that exists. */
function installed(change = (text: string) => text): string {
  const directory = temporary();
  cpSync(UNITS, directory, { recursive: true });
  const path = join(directory, 'derpkit.service');
  writeFileSync(
    path,
    change(readFileSync(path, 'utf8').replace('ExecStart=derpkit ', `ExecStart=${binPath('derpkit')} `)),
  );
  return directory;
}

function analyze(...args: readonly string[]): { readonly status: number | null; readonly output: string } {
  const { status, stdout, stderr } = spawnSync('systemd-analyze', args, { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe.runIf(spawnSync('systemd-analyze', ['--version']).status === 0)('the units', () => {
  it('systemd understands every line of the units', () => {
    expect(names).toHaveLength(4);
    const directory = installed();
    expect(analyze('verify', ...names.map((name) => join(directory, name)))).toEqual({ status: 0, output: '' });
    const misspelt = installed((text) => text.replace('ProtectClock=', 'ProtectClok='));
    expect(analyze('verify', join(misspelt, 'derpkit.service')).output).toContain('ProtectClok');
  });

  it('the service unit exposes as little as the documentation says', () => {
    const { output } = analyze('security', '--offline=true', join(installed(), 'derpkit.service'));
    const figure = /exposure level for derpkit\.service: (\d+\.\d)/.exec(output)?.[1];
    const documented = /rates the unit (\d+\.\d)/.exec(readFileSync(join(ROOT, 'docs/deploy.md'), 'utf8'))?.[1];
    expect(Number(documented)).toBeGreaterThan(0);
    // Other versions weigh other things.
    const isOurs = analyze('--version').output.startsWith('systemd 252 ');
    expect(Number(figure)).toBeLessThanOrEqual(Number(documented) + (isOurs ? 0 : 0.5));
  });
});
