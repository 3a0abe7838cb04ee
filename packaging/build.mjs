/** `npm run build`: compiles `src` to `dist`, and the native plane where its toolchain is. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run, say } from './ensure.mjs';
import { ensureAddon, missingToolchain } from './native.mjs';

rmSync(join(root, 'dist'), { recursive: true, force: true });
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
for (const bin of ['derpkit', 'derper']) chmodSync(join(root, 'dist/cli', `${bin}.js`), 0o755);

const missing = missingToolchain();
if (missing) {
  say(`the native plane is left out, because ${missing} is not installed; packets move in JavaScript`);
} else {
  ensureAddon();
}
writeFileSync(join(root, 'dist/.built'), '');
