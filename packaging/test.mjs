/**
 * `npm test`: runs all tests from a bare clone. It prints which suites a missing tool excludes, and why; with `CI` set,
 * no suite may be excluded. `--long` adds runs that are too long for every change.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from './chromium.mjs';
import { ensureBuilt, ensureInstalled, fail, root, say } from './ensure.mjs';
import { missingToolchain } from './native.mjs';
import { buildNats, builtNats } from './nats.mjs';
import { whyNoSystems } from './systems.mjs';
import { buildTailnet, builtTailnet } from './tailnet.mjs';

ensureInstalled();
ensureBuilt();

const leftOut = missing();
for (const { suite, reason } of leftOut) say(`left out: ${suite}: ${reason}`);
if (leftOut.length > 0 && process.env.CI) fail('in CI nothing may be left out');

const long = process.argv.includes('--long');
const go = !leftOut.some(({ suite }) => suite === 'interop');
if (long && go) {
  await buildTailnet();
  await buildNats();
}
const notBuilt = go && !builtTailnet() && 'headscale and tailscaled are not built; npm run test:long builds them';
if (notBuilt) say(`left out: the real admission of interop: ${notBuilt}`);
const noNats = go && !builtNats() && 'nats-server is not built; npm run test:long builds it';
if (noNats) say(`left out: the directory of interop: ${noNats}`);
const args = process.argv.slice(2).filter((arg) => arg !== '--long');
const noSystems = long && !leftOut.some(({ suite }) => suite === 'install') && prepareSystems();
if (noSystems) say(`left out: other systems, in install: ${noSystems}`);

// Names on the command line select TypeScript tests.
const rust = args.length > 0 || missingToolchain() ? { passed: 0, failed: 0, skipped: 0, status: 0 } : cargoTest();

const report = mkdtempSync(join(tmpdir(), 'derpkit-test-'));
const reportFile = join(report, 'report.json');
const { status } = spawnSync(
  process.execPath,
  [
    join(root, 'node_modules/vitest/vitest.mjs'),
    'run',
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${reportFile}`,
    // A missing Cargo also excludes the tests of the crates.
    ...leftOut.map(({ suite }) => `--project=!${suite}`),
    ...args,
  ],
  { cwd: root, stdio: 'inherit', env: { ...process.env, ...(long && { DERPKIT_LONG: '1' }) } },
);
const { numPassedTests, numFailedTests, numPendingTests, numTodoTests } = JSON.parse(readFileSync(reportFile, 'utf8'));
rmSync(report, { recursive: true });
const passed = numPassedTests + rust.passed;
const failed = numFailedTests + rust.failed;
const skipped = numPendingTests + numTodoTests + rust.skipped;
for (const { suite, reason } of leftOut) say(`left out: ${suite}: ${reason}`);
if (notBuilt) say(`left out: the real admission of interop: ${notBuilt}`);
if (noNats) say(`left out: the directory of interop: ${noNats}`);
if (noSystems) say(`left out: other systems, in install: ${noSystems}`);
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
// Mutation testing makes sense only if all tests pass.
const outcome = status === 0 ? rust.status : (status ?? 1);
process.exit(outcome === 0 && long && args.length === 0 ? mutate() : outcome);

/** Runs the tests of the crates, and counts them. */
function cargoTest() {
  const { status, stdout } = spawnSync('cargo', ['test', '--workspace', '--locked'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  process.stdout.write(stdout ?? '');
  const results = [...(stdout ?? '').matchAll(/^test result: .* (\d+) passed; (\d+) failed; (\d+) ignored/gm)];
  const sum = (group) => results.reduce((total, result) => total + Number(result[group]), 0);
  return { passed: sum(1), failed: sum(2), skipped: sum(3), status: status ?? 1 };
}

/** Runs mutation testing for an hour; the next run continues there. */
function mutate() {
  const withoutRust = missingToolchain() ? ['--only', 'registry,http,control,admission,acme,plane-js'] : [];
  const script = join(root, 'packaging/mutation.mjs');
  return (
    spawnSync(process.execPath, [script, '--minutes', '60', ...withoutRust], { cwd: root, stdio: 'inherit' }).status ??
    1
  );
}

/** Builds what the install suite runs on other systems. Returns why that is impossible. */
function prepareSystems() {
  const missing = whyNoSystems();
  if (missing) return missing;
  const targets = ['linux-x64-gnu', 'linux-arm64-gnu', 'linux-x64-musl', 'linux-arm64-musl'];
  const args = [join(root, 'packaging/build-target.mjs'), ...targets];
  if (spawnSync(process.execPath, args, { stdio: ['ignore', 2, 2] }).status === 0) return undefined;
  return 'not all targets can be built; what went wrong is said above';
}

/** The suites that cannot run here, and why. */
function missing() {
  const toolchain = missingToolchain();
  return [
    ...(spawnSync('go', ['version']).status === 0
      ? []
      : [{ suite: 'interop', reason: 'Go is not installed; the real clients are built with it' }]),
    ...(chromium() === undefined ? [{ suite: 'browser', reason: 'neither Chromium nor Chrome is installed' }] : []),
    ...(toolchain
      ? ['native', 'model', 'install', 'bench'].map((suite) => ({
          suite,
          reason: `${toolchain} is not installed; the native plane and the load generator are built with it`,
        }))
      : []),
  ];
}
