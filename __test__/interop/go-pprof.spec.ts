/** Go's own reader of profiles on `/debug/pprof/profile`, as an operator points it at derper. */
import { execFile, spawnSync } from 'node:child_process';
import { pbkdf2Sync } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { LANES } from '../helpers/lanes.js';
import { startRelay } from '../helpers/relay.js';

/** Work with a name that the profile has to show. Not a loop: V8 would compile that into its caller. */
function burnForTheProfile(): Buffer {
  return pbkdf2Sync('password', 'salt', 20_000, 32, 'sha256');
}

describe.skipIf(spawnSync('go', ['version']).status !== 0).each(LANES)('go tool pprof, $name', (lane) => {
  it('go tool pprof records a profile of the relay and shows where the time goes', async () => {
    const { host, port } = (await startRelay(lane)).target();
    const directory = mkdtempSync(join(tmpdir(), 'derpkit-pprof-'));
    onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
    const args = ['tool', 'pprof', '-top', '-nodecount=1000', `http://${host}:${port}/debug/pprof/profile?seconds=1`];
    let shown: string | undefined;
    const env = { ...process.env, PPROF_TMPDIR: directory };
    const child = execFile('go', args, { env }, (error, stdout, stderr) => {
      shown = error ? `${error}\n${stderr}` : stdout;
    });
    onTestFinished(() => void child.kill());
    while (shown === undefined) {
      burnForTheProfile();
      await setImmediate();
    }
    expect(shown).toMatch(/^Type: cpu$/m);
    expect(shown).toMatch(/^Duration: \d/m);
    expect(shown).toMatch(/ burnForTheProfile$/m);
  });
});
