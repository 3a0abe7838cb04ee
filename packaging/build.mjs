/**
 * `npm run build`: compiles `src` to `dist`, and the native plane if its toolchain is installed. If the native plane
 * cannot be compiled, the JavaScript plane suffices, unless `CI` is set or `DERPKIT_PLANE=native` demands it.
 * `--portable` builds the native plane for older systems, as a release does; `--javascript` omits it.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root, run, say } from './ensure.mjs';
import { buildAddon, missingToolchain, targetName } from './native.mjs';

rmSync(join(root, 'dist'), { recursive: true, force: true });
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
// The live page of `/debug/` is served as it lies here, with uPlot beside it.
cpSync(join(root, 'src/http/live'), join(root, 'dist/http/live'), { recursive: true });
for (const name of ['uPlot.iife.min.js', 'uPlot.min.css']) {
  cpSync(join(root, 'node_modules/uplot/dist', name), join(root, 'dist/http/live', name));
}
for (const bin of ['derpkit', 'derper']) chmodSync(join(root, 'dist/cli', `${bin}.js`), 0o755);

if (!process.argv.includes('--javascript')) buildNative();
writeFileSync(join(root, 'dist/.built'), '');

function buildNative() {
  const missing = missingToolchain();
  if (missing)
    return say(`the native plane is left out, because ${missing} is not installed; packets move in JavaScript`);
  if (compiled()) return;
  if (process.env.CI || process.env.DERPKIT_PLANE === 'native') fail('the native plane cannot be compiled');
  say('the native plane cannot be compiled: Cargo says why above');
  say('packets move in JavaScript until it can; the next start or build tries again');
  // Without the mark written below, the sources count as not built.
  process.exit(0);
}

/** A release builds the load generator together with the addon, because both go into one package. */
function compiled() {
  if (!process.argv.includes('--portable')) return buildAddon();
  const script = join(root, 'packaging/build-target.mjs');
  return spawnSync(process.execPath, [script, targetName()], { stdio: ['ignore', 2, 2] }).status === 0;
}
