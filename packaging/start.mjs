/** `npm start`: runs a relay to try out from a bare clone. Everything that it makes lies in `.derpkit`. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { ensureBuilt, ensureInstalled, root, say } from './ensure.mjs';

ensureInstalled();
if (ensureBuilt()) say('starting');

const entry = join(root, 'dist/cli/derpkit.js');
process.argv = [process.execPath, entry, 'start', '--data-dir', join(root, '.derpkit'), ...process.argv.slice(2)];
await import(pathToFileURL(entry).href);
