/**
 * `npm run build-target -- TARGET…`: builds the addon and the load generator of a release into `npm/<target>/`. zig builds
 * those for Linux on any system; those for macOS need macOS.
 */
import { statSync } from 'node:fs';
import { ensureInstalled, fail, say } from './ensure.mjs';
import { buildAddon, ensureGenerator, missingToolchain, places, tripleOf } from './native.mjs';
import { addToRust, zigFor } from './zig.mjs';

const targets = process.argv.slice(2);
if (targets.length === 0) fail('name a target, such as linux-arm64-musl; src/plane/targets.ts lists them');
ensureInstalled();
for (const target of targets) buildTarget(target);

function buildTarget(target) {
  const missing = missingToolchain();
  if (missing) fail(`${missing} is not installed; the native plane is built with it`);
  if (!/^(?:linux-(?:x64|arm64)-(?:gnu|musl)|darwin-(?:x64|arm64))$/.test(target)) {
    fail(`there is no package for ${target}; src/plane/targets.ts lists those that there are`);
  }
  if (target.startsWith('darwin') && process.platform !== 'darwin') fail(`${target} can be built on macOS only`);
  say(`building for ${target}: about eight minutes on two cores the first time`);
  const started = performance.now();
  const zig = environment(target);
  if (!buildAddon(target, { zig })) fail(`the addon for ${target} (${tripleOf(target)}) cannot be built`);
  ensureGenerator(target, { zig });
  const { addon, generator } = places(target);
  for (const path of [addon, generator])
    say(`${path}: ${statSync(path).size.toLocaleString('en')} bytes, not stripped`);
  say(`built for ${target} in ${Math.round((performance.now() - started) / 1000)} s`);
}

/** Environment variables that make zig the compiler, if it is installed. */
function environment(target) {
  try {
    return target.startsWith('linux') ? zigFor(target) : addToRust(target);
  } catch (error) {
    return fail(error.message);
  }
}
