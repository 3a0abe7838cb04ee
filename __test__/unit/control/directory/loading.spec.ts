import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';
import { ROOT } from '../../../repo/project.js';

/** The packages of NATS that a program has loaded after an import. */
function loadedBy(module: string): string[] {
  const program = `import { createRequire } from 'node:module';
await import(${JSON.stringify(module)});
const loaded = Object.keys(createRequire(import.meta.url).cache);
console.log(JSON.stringify(loaded.filter((path) => path.includes('@nats-io'))));`;
  const args = ['--input-type=module', '--eval', program];
  return JSON.parse(execFileSync(process.execPath, args, { cwd: ROOT, encoding: 'utf8' }));
}

it('the library of NATS is loaded only with a connection to NATS', () => {
  expect(loadedBy('./dist/index.js')).toEqual([]);
  expect(loadedBy('./dist/control/directory/nats-directory.js')).toEqual([]);
  expect(loadedBy('./dist/control/directory/nats-link.js')).not.toEqual([]);
});
