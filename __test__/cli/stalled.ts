/** A command whose modules do not load before the test says so: what happens in the first moments of a start. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { eventually } from '../helpers/wait.js';
import { type Bin, temporary } from './commands.js';

export interface Stall {
  /** What the command has to be started with. */
  readonly env: { readonly NODE_OPTIONS: string };
  /** Resolves when the command has come to its modules. */
  readonly reached: () => Promise<unknown>;
  /** Lets them load. */
  readonly release: () => void;
}

/** `options` are more options of Node. */
export function stall(bin: Bin, options = ''): Stall {
  const directory = temporary();
  const [reached, released, hooks, register] = ['reached', 'released', 'hooks.mjs', 'register.mjs'].map((name) =>
    join(directory, name),
  ) as [string, string, string, string];
  writeFileSync(
    hooks,
    `import { existsSync, writeFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';
export async function load(url, context, next) {
  if (url.endsWith('/${bin}-command.js')) {
    writeFileSync(${JSON.stringify(reached)}, '');
    while (!existsSync(${JSON.stringify(released)})) await setTimeout(10);
  }
  return next(url, context);
}
`,
  );
  writeFileSync(
    register,
    `import { register } from 'node:module';\nregister(${JSON.stringify(pathToFileURL(hooks).href)});\n`,
  );
  return {
    env: { NODE_OPTIONS: `--import=${pathToFileURL(register).href} ${options}` },
    reached: () => eventually(() => existsSync(reached), 'the command to come to its modules'),
    release: () => writeFileSync(released, ''),
  };
}
