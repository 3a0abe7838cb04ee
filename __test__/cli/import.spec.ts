/** A program that only imports derpkit asks nothing of the system: what is asked may fail, and the import with it. */
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it } from 'vitest';
import { Command, lines, ROOT, temporary } from './commands.js';

/** Prints each call of `node:os`, `node:fs` and `process.cwd` that a file of the project makes itself. */
const WATCH = `import fs from 'node:fs';
import fsPromises from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import os from 'node:os';
function watch(object, owner) {
  for (const [name, original] of Object.entries(object)) {
    if (typeof original !== 'function' || /^[A-Z]/.test(name)) continue;
    object[name] = function (...args) {
      const [, , caller = ''] = new Error().stack.split('\\n');
      if (caller.includes(process.env.WATCHED)) console.log(owner + '.' + name + caller);
      return original.apply(this, args);
    };
  }
}
watch(os, 'os');
watch(fs, 'fs');
watch(fsPromises, 'fs');
const { cwd } = process;
process.cwd = () => {
  if (new Error().stack.split('\\n')[2]?.includes(process.env.WATCHED)) console.log('process.cwd');
  return cwd();
};
syncBuiltinESMExports();
`;

async function callsOf(modules: readonly string[], watched: string): Promise<readonly string[]> {
  const directory = temporary();
  const [watch, program] = [join(directory, 'watch.mjs'), join(directory, 'program.mjs')];
  writeFileSync(watch, WATCH);
  const imports = modules.map((path) => `await import(${JSON.stringify(pathToFileURL(path).href)});\n`);
  writeFileSync(program, `${imports.join('')}console.log('imported ${modules.length}');\n`);
  const env = { WATCHED: pathToFileURL(watched).href };
  const line = [process.execPath, '--import', pathToFileURL(watch).href, program] as const;
  const { code, stdout, stderr } = await new Command([...line], { env }).end();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const printed = lines(stdout);
  expect(printed.pop()).toBe(`imported ${modules.length}`);
  return printed;
}

it('no module queries the system when it is imported, except those that run a command', async () => {
  const dist = join(ROOT, 'dist');
  const modules = readdirSync(dist, { recursive: true, encoding: 'utf8' })
    // The scripts of the live page run in browsers.
    .filter((path) => path.endsWith('.js') && !/^http[/\\]live[/\\]/.test(path))
    .filter((path) => !/^cli[/\\](?:derper|derpkit)(?:-command)?\.js$/.test(path))
    .map((path) => join(dist, path));
  expect(modules.length).toBeGreaterThan(100);
  expect(await callsOf(modules, dist)).toEqual([]);
});

it('this test can fail', async () => {
  const directory = temporary();
  const module = join(directory, 'asking.mjs');
  const asking = `import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
homedir();
existsSync('/');
await readFile('/dev/null');
process.cwd();
`;
  writeFileSync(module, asking);
  const calls = await callsOf([module], directory);
  expect(calls.map((call) => call.split(' ')[0])).toEqual([
    'os.homedir',
    'fs.existsSync',
    'fs.readFile',
    'process.cwd',
  ]);
});
