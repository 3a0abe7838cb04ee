/** Where the load generator is: a program of its own, because what is measured must not be slowed down by who measures. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { packageOf, targetName } from '../plane/targets.js';

/** Beside the addon, whose platform it has too; undefined if it is not there. */
export function findGenerator(): string | undefined {
  const name = process.platform === 'win32' ? 'derp-bench.exe' : 'derp-bench';
  const built = fileURLToPath(new URL(`../../npm/${targetName()}/${name}`, import.meta.url));
  if (existsSync(built)) return built;
  try {
    const installed = fileURLToPath(import.meta.resolve(`${packageOf(targetName())}/${name}`));
    return existsSync(installed) ? installed : undefined;
  } catch {
    return undefined;
  }
}

export const NO_GENERATOR =
  'the load generator is not here. It is a Rust program that packages without prebuilt binaries do not have: ' +
  'in a clone of the sources `npm run bench` builds it where Cargo is, or name one that was built elsewhere with --generator';
