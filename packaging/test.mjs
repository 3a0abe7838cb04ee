/**
 * `npm test`: everything from a bare clone, in one command. What a missing tool leaves out is said, with the reason; where
 * `CI` is set, nothing may be left out. `--long` adds the runs that take longer than a change should wait for.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled, fail, root, say } from './ensure.mjs';

ensureInstalled();
ensureBuilt();

const leftOut = missing();
for (const { suite, reason } of leftOut) say(`left out: ${suite}: ${reason}`);
if (leftOut.length > 0 && process.env.CI) fail('in CI nothing may be left out');

const report = mkdtempSync(join(tmpdir(), 'derpkit-test-'));
const reportFile = join(report, 'report.json');
const args = process.argv.slice(2).filter((arg) => arg !== '--long');
const long = process.argv.includes('--long');
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
    ...leftOut.map(({ suite }) => `--project=!${suite}`),
    ...args,
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, ...(long && { DERPKIT_LONG: '1' }) } },
);
const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(reportFile, 'utf8'));
rmSync(report, { recursive: true });
const skipped = numPendingTests + numTodoTests;
for (const { suite, reason } of leftOut) say(`left out: ${suite}: ${reason}`);
console.log(`${numPassedTests} passed, ${numFailedTests} failed, ${skipped} skipped`);
process.exit(status ?? 1);

/** Suites that cannot run here, and why. */
function missing() {
  const go = spawnSync('go', ['version']);
  return go.status === 0
    ? []
    : [{ suite: 'interop', reason: 'Go is not installed; the real clients are built with it' }];
}
