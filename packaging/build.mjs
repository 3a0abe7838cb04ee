/** `npm run build`: compiles `src` to `dist`. */
import { chmodSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root, run } from './ensure.mjs';

rmSync(join(root, 'dist'), { recursive: true, force: true });
run(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', root]);
for (const bin of ['derpkit', 'derper']) chmodSync(join(root, 'dist/cli', `${bin}.js`), 0o755);
writeFileSync(join(root, 'dist/.built'), '');
