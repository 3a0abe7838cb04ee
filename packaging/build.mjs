/**
 * `npm run build`: compiles `src` to `dist`, and the native plane where its toolchain is. Where the native plane cannot be
 * compiled the JavaScript plane is enough to go on with, unless `CI` is set or `DERPKIT_PLANE=native` asks for it.
 */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fail, root, run, say } from './ensure.mjs';
import { buildAddon, missingToolchain } from './native.mjs';

rmSync(join(root, 'dist'), { recursive: true, force: true });
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
for (const bin of ['derpkit', 'derper']) chmodSync(join(root, 'dist/cli', `${bin}.js`), 0o755);

const missing = missingToolchain();
if (missing) {
  say(`the native plane is left out, because ${missing} is not installed; packets move in JavaScript`);
} else {
  say('compiling the native plane: about four minutes on two cores the first time, seconds after that');
  if (!buildAddon()) {
    if (process.env.CI || process.env.DERPKIT_PLANE === 'native') fail('the native plane cannot be compiled');
    say('the native plane cannot be compiled: Cargo says why above');
    say('packets move in JavaScript until it can; the next start or build tries again');
    // Without this mark the sources count as not built.
    process.exit(0);
  }
}
writeFileSync(join(root, 'dist/.built'), '');
